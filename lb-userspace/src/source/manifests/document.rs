//! One document of a manifest: which objects are in it, and what is wrong with those that can't be
//! taken. Files are not known here; problems name the place within the text.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Endpoints as ApiEndpoints, Node as ApiNode, Pod as ApiPod, Service as ApiService},
    discovery::v1::EndpointSlice as ApiSlice,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    model::{
        EndpointSlice, Endpoints, Kind, Node, ObjectRef, Pod, Position, Problem, Refused, Service,
    },
    yaml::Tree,
};

/// What the documents of a file hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// The objects that are right by themselves, in the file's order.
    pub(super) objects: Vec<Object>,
    /// Those that aren't, once for each thing that is wrong.
    pub(super) refused: Vec<ObjectRef>,
    /// What is wrong. Not of any file yet.
    pub(super) problems: Vec<Problem>,
}

/// An object and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) reference: ObjectRef,
    pub(super) position: Option<Position>,
    pub(super) content: Content,
}

/// The objects that matter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Service(Arc<Service>),
    Slice(Arc<EndpointSlice>),
    Endpoints(Arc<Endpoints>),
    Pod(Arc<Pod>),
    Node(Arc<Node>),
}

impl Contents {
    /// Takes up what one document holds.
    pub(super) fn read(&mut self, document: &Tree) {
        if !document.is_map() {
            return self.no_object(document, "expected an object with `apiVersion` and `kind`");
        }
        match (document.text("apiVersion"), document.text("kind")) {
            (None, _) => self.no_object(document, "`apiVersion` is missing, for example `v1`"),
            (_, None) => self.no_object(document, "`kind` is missing, for example `Service`"),
            (Some("v1"), Some("List")) => self.each_item(document, Self::read),
            (Some("v1"), Some("ServiceList")) => self.each_item(document, Self::service),
            (Some("discovery.k8s.io/v1"), Some("EndpointSliceList")) => {
                self.each_item(document, Self::slice);
            }
            (Some("v1"), Some("EndpointsList")) => self.each_item(document, Self::endpoints),
            (Some("v1"), Some("PodList")) => self.each_item(document, Self::pod),
            (Some("v1"), Some("NodeList")) => self.each_item(document, Self::node),
            (Some("v1"), Some("Service")) => self.service(document),
            (Some("v1"), Some("Endpoints")) => self.endpoints(document),
            (Some("v1"), Some("Pod")) => self.pod(document),
            (Some("v1"), Some("Node")) => self.node(document),
            (Some("discovery.k8s.io/v1"), Some("EndpointSlice")) => self.slice(document),
            (Some("discovery.k8s.io/v1beta1"), Some("EndpointSlice")) => {
                let message = "no longer served since Kubernetes 1.25; write `discovery.k8s.io/v1`";
                self.refuse(Kind::EndpointSlice, document, Some("apiVersion"), message.to_owned());
            }
            (Some(api_version), Some(kind)) => {
                tracing::debug!(api_version, kind, "object of another kind is passed over");
            }
        }
    }

    fn each_item(&mut self, list: &Tree, read: fn(&mut Self, &Tree)) {
        for item in list.get("items").map(Tree::items).unwrap_or_default() {
            read(self, item);
        }
    }

    fn service(&mut self, document: &Tree) {
        self.object::<ApiService, Service>(Kind::Service, document, Content::Service);
    }

    fn slice(&mut self, document: &Tree) {
        self.object::<ApiSlice, EndpointSlice>(Kind::EndpointSlice, document, Content::Slice);
    }

    fn endpoints(&mut self, document: &Tree) {
        self.object::<ApiEndpoints, Endpoints>(Kind::Endpoints, document, Content::Endpoints);
        if let Some(Object { content: Content::Endpoints(one), .. }) = self.objects.last()
            && one.left_out > 0
        {
            let (service, left_out) = (&one.service, one.left_out);
            tracing::warn!(%service, left_out, "only 1000 addresses of a subset of Endpoints are taken");
        }
    }

    fn pod(&mut self, document: &Tree) {
        self.object::<ApiPod, Pod>(Kind::Pod, document, Content::Pod);
    }

    fn node(&mut self, document: &Tree) {
        self.object::<ApiNode, Node>(Kind::Node, document, Content::Node);
    }

    fn object<Api, Valid>(
        &mut self,
        kind: Kind,
        document: &Tree,
        content: fn(Arc<Valid>) -> Content,
    ) where
        Api: DeserializeOwned + Serialize,
        Valid: for<'a> TryFrom<&'a Api, Error = Refused>,
    {
        let object: Api = match serde_path_to_error::deserialize(document.to_value()) {
            Ok(object) => object,
            Err(error) => {
                let field = error.path().to_string();
                return self.refuse(kind, document, Some(&field), error.inner().to_string());
            }
        };
        if let Some(field) = unknown_field(document, &object) {
            let message = "unknown field; correct its name or remove it";
            return self.refuse(kind, document, Some(&field), message.to_owned());
        }
        match Valid::try_from(&object) {
            Ok(valid) => self.objects.push(Object {
                reference: reference(kind, document),
                position: document.position(),
                content: content(Arc::new(valid)),
            }),
            Err(Refused(findings)) => {
                for invalid in findings {
                    self.refuse(kind, document, Some(&invalid.field), invalid.rule.to_string());
                }
            }
        }
    }

    fn refuse(&mut self, kind: Kind, document: &Tree, field: Option<&str>, message: String) {
        let object = reference(kind, document);
        let field = field.filter(|field| *field != ".");
        let position = field.map_or(document.position(), |field| document.position_of(field));
        let field = field.map(str::to_owned);
        self.refused.push(object.clone());
        self.problems.push(Problem { file: None, position, object: Some(object), field, message });
    }

    fn no_object(&mut self, document: &Tree, message: &str) {
        let position = document.position();
        let message = message.to_owned();
        self.problems.push(Problem { file: None, position, object: None, field: None, message });
    }
}

fn reference(kind: Kind, document: &Tree) -> ObjectRef {
    let metadata = |key| document.get("metadata").and_then(|metadata| metadata.text(key));
    ObjectRef::of(kind, metadata("namespace"), metadata("name"))
}

/// A field that Kubernetes doesn't have, as strict validation (the default of `kubectl`) finds it:
/// most often one that was misspelt.
fn unknown_field(document: &Tree, object: &impl Serialize) -> Option<String> {
    // Writing an object out again can't fail: these types are maps with string keys throughout.
    let known = serde_json::to_value(object).ok()?;
    document.unknown_field(&known)
}
