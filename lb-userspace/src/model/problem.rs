//! What is wrong with an object or a file, as shown to people. Finding it is not done here.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{Invalid, ObjectRef};

/// One thing that an operator has to put right, and where.
///
/// Shown as `web.yaml:14:17: Service default/web: spec.ports[0].nodePort: Invalid value: …`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file it stands in, when the object came from a file.
    pub file: Option<PathBuf>,
    /// Where in the file: the field if it is there, else what would contain it.
    pub position: Option<Position>,
    /// The object, unless the text could not be read as objects at all.
    pub object: Option<ObjectRef>,
    /// The field, as in `spec.ports[0].nodePort`.
    pub field: Option<String>,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// A place in a text file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Problem {
    /// A problem of a whole file or directory.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: Some(file.to_owned()),
            position: None,
            object: None,
            field: None,
            message: message.into(),
        }
    }

    /// A field of an object that breaks a rule.
    pub fn of_object(object: ObjectRef, invalid: &Invalid) -> Self {
        Self {
            file: None,
            position: None,
            object: Some(object),
            field: Some(invalid.field.clone()),
            message: invalid.rule.to_string(),
        }
    }

    /// The same problem, found in this place.
    #[must_use]
    pub fn found_in(mut self, file: &Path, position: Option<Position>) -> Self {
        self.file = Some(file.to_owned());
        self.position = position;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", file.display())?;
            if let Some(Position { line, column }) = self.position {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Rule};

    #[test]
    fn a_problem_reads_from_the_place_to_the_remedy() {
        let object = ObjectRef::new(Kind::Service, "default", "web");
        let invalid = Invalid::new("spec.ports", Rule::Required { hint: "name a port" });
        let problem = Problem::of_object(object, &invalid);
        assert_eq!(
            problem.to_string(),
            "Service default/web: spec.ports: Required value: name a port"
        );
        let position = Some(Position { line: 3, column: 5 });
        assert_eq!(
            problem.found_in(Path::new("web.yaml"), position).to_string(),
            "web.yaml:3:5: Service default/web: spec.ports: Required value: name a port"
        );
    }
}
