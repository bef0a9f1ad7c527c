//! One problem of a configuration file: what, where, and what to do. How it is shown is `render`'s matter.

use super::code::Code;
use serde::Serialize;
use std::ops::Range;

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted, but probably not what was meant.
    Warning,
}

/// Another place in the file that has to do with the problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where.
    pub span: Span,
    /// What is there.
    pub label: String,
}

/// One problem: what, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// One line: what is wrong.
    pub message: String,
    /// Where it is wrong.
    pub span: Span,
    /// A few words beside the place; may be empty.
    pub label: String,
    /// Other places concerned.
    pub notes: Vec<Note>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem at a place, so far without label, notes and help.
    pub(super) fn new(code: Code, message: impl Into<String>, span: impl Into<Span>) -> Self {
        let message = message.into();
        Self { code, message, span: span.into(), label: String::new(), notes: Vec::new(), help: None }
    }

    /// Words beside the place.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Another place concerned.
    pub(super) fn note(mut self, span: Span, label: impl Into<String>) -> Self {
        self.notes.push(Note { span, label: label.into() });
        self
    }

    /// What to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the file is refused for it; follows from the code.
    pub fn severity(&self) -> Severity {
        if self.code >= Code::FewSlots { Severity::Warning } else { Severity::Error }
    }
}

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(Vec<Diagnostic>);

impl Problems {
    pub(super) fn push(&mut self, problem: Diagnostic) {
        self.0.push(problem);
    }

    pub(super) fn append(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn any_error(&self) -> bool {
        self.0.iter().any(|problem| problem.severity() == Severity::Error)
    }

    /// In the order of the file.
    pub(super) fn sorted(mut self) -> Vec<Diagnostic> {
        self.0.sort_by_key(|problem| (problem.span, problem.code));
        self.0
    }
}
