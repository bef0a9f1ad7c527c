//! The two renderings of problems: for people (as rustc does) and for programs.

use super::code::Code;
use super::diagnostic::{Diagnostic, Note, Severity, Span};
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;

/// Places at most so many bytes apart are drawn in one excerpt, others each in its own. The renderer indexes all text it
/// is given, each time anew: whole files would make thousands of problems take minutes.
const NEAR: usize = 4096;

/// A file that problems are about.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What to call it.
    pub file: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// The problems as people read them, each with the lines of the file it is about: `--> file:line:column`.
pub fn render(diagnostics: &[Diagnostic], text: &str, file: &str, colour: bool) -> String {
    render_layered(diagnostics, [Text { file, text }, Text { file, text: "" }], colour)
}

/// The same of a file and its layer, as [`super::parse_layered`] reads them.
pub fn render_layered(diagnostics: &[Diagnostic], texts: [Text<'_>; 2], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let sources = Sources::of(texts);
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&[group(diagnostic, &sources)]));
        out.push_str("\n\n");
    }
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &Sources<'a>) -> Group<'a> {
    let level = match diagnostic.severity() {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let source = sources.get(diagnostic.span);
    let is_near = |note: &&Note| {
        sources.get(note.span).offset == source.offset && note.span.start.abs_diff(diagnostic.span.start) <= NEAR
    };
    let (near, far): (Vec<&Note>, Vec<&Note>) = diagnostic.notes.iter().partition(is_near);
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code.as_str());
    let mut group = title.element(snippet(Some((diagnostic.span, &diagnostic.label)), &near, source));
    for note in far {
        group = group.element(snippet(None, &[note], sources.get(note.span)));
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(help))),
        None => group,
    }
}

/// The whole lines from the first to the last of some places of one file.
fn snippet<'a>(
    primary: Option<(Span, &'a str)>,
    notes: &[&'a Note],
    source: &Source<'a>,
) -> Snippet<'a, Annotation<'a>> {
    let primary = primary.map(|(span, label)| (source.local(span), label));
    let notes = || notes.iter().map(|note| (source.local(note.span), note.label.as_str()));
    let starts = || notes().chain(primary).map(|(span, _)| span.start);
    let (first, last) = (starts().min().unwrap_or(0), starts().max().unwrap_or(0));
    let (text, offset, number) = source.lines.excerpt(first, last);
    let annotate = |kind: AnnotationKind, (span, label)| annotation(kind, text, offset, span, label);
    Snippet::source(text)
        .line_start(number)
        .path(source.file)
        .annotations(primary.map(|place| annotate(AnnotationKind::Primary, place)))
        .annotations(notes().map(|place| annotate(AnnotationKind::Context, place)))
}

/// `offset`: of the excerpt in the file.
fn annotation<'a>(kind: AnnotationKind, excerpt: &str, offset: usize, span: Span, label: &'a str) -> Annotation<'a> {
    let start = excerpt.floor_char_boundary(span.start.saturating_sub(offset));
    let end = excerpt.floor_char_boundary(span.end.saturating_sub(offset)).max(start);
    // A span of several lines (an inline table, say) would be drawn with its whole content.
    let line = excerpt[start..end].lines().next().map_or(0, str::len);
    let annotation = kind.span(start..start + line);
    if label.is_empty() { annotation } else { annotation.label(label) }
}

/// A file and its layer, which is behind it: places count on.
struct Sources<'a>([Source<'a>; 2]);

/// One of the two.
struct Source<'a> {
    file: &'a str,
    lines: Lines<'a>,
    /// The place of its first octet.
    offset: usize,
}

impl<'a> Sources<'a> {
    fn of([file, layer]: [Text<'a>; 2]) -> Self {
        let source = |text: Text<'a>, offset| Source { file: text.file, lines: Lines::of(text.text), offset };
        Self([source(file, 0), source(layer, file.text.len())])
    }

    /// The one that a place is in. The end of the file is the file's, if nothing follows.
    fn get(&self, span: Span) -> &Source<'a> {
        let [file, layer] = &self.0;
        if span.start >= layer.offset && !layer.lines.text.is_empty() { layer } else { file }
    }
}

impl Source<'_> {
    fn local(&self, span: Span) -> Span {
        Span { start: span.start.saturating_sub(self.offset), end: span.end.saturating_sub(self.offset) }
    }
}

/// A text with the places of its lines.
struct Lines<'a> {
    text: &'a str,
    /// The first byte of each.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self { text, starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    /// The line of a byte, from 0.
    fn line(&self, at: usize) -> usize {
        // The first line starts at 0, so at least one start is not beyond `at`.
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// The lines from one byte's to another's, the offset of the first, and its number from 1.
    fn excerpt(&self, first: usize, last: usize) -> (&'a str, usize, usize) {
        let line = self.line(first);
        let start = self.starts[line];
        let end = self.starts.get(self.line(last) + 1).copied().unwrap_or(self.text.len());
        (&self.text[start..end], start, line + 1)
    }

    /// Line and column in characters, both from 1.
    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let at = self.text.floor_char_boundary(at);
        let line = self.line(at);
        (line + 1, self.text[self.starts[line]..at].chars().count() + 1)
    }
}

/// A problem as `-o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file as it was named on the command line.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// `error` or `warning`.
    pub severity: Severity,
    /// Stable code.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// Words beside the place; may be empty.
    pub label: String,
    /// What to do, where there is advice.
    pub help: Option<String>,
}

/// The problems as programs read them.
pub fn reports(diagnostics: &[Diagnostic], text: &str, file: &str) -> Vec<Report> {
    let lines = Lines::of(text);
    diagnostics.iter().map(|diagnostic| report(diagnostic, &lines, file)).collect()
}

fn report(diagnostic: &Diagnostic, lines: &Lines<'_>, file: &str) -> Report {
    let (line, column) = lines.line_and_column(diagnostic.span.start);
    Report {
        file: file.to_owned(),
        line,
        column,
        severity: diagnostic.severity(),
        code: diagnostic.code,
        message: diagnostic.message.clone(),
        label: diagnostic.label.clone(),
        help: diagnostic.help.clone(),
    }
}
