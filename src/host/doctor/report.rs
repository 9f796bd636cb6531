//! What was found, for people and for programs.

use serde_json::{Value, json};
use url::Url;

use crate::page::display;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// Some clients, or some people, will have trouble.
    Warn,
    /// Clients cannot connect.
    Fail,
    /// Not checked, because it depends on something that failed.
    Skip,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub todo: &'static str,
}

impl Finding {
    /// Nothing to do.
    pub fn pass(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Pass, what, "")
    }

    /// Some clients will have trouble.
    pub fn warn(check: &'static str, what: impl Into<String>, todo: &'static str) -> Self {
        Self::new(check, Verdict::Warn, what, todo)
    }

    /// Clients cannot connect.
    pub fn fail(check: &'static str, what: impl Into<String>, todo: &'static str) -> Self {
        Self::new(check, Verdict::Fail, what, todo)
    }

    /// It could not be checked.
    pub fn skip(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skip, what, "")
    }

    fn new(
        check: &'static str,
        verdict: Verdict,
        what: impl Into<String>,
        todo: &'static str,
    ) -> Self {
        // It may contain text of the server.
        let what = display(&what.into(), WHAT_CHARACTERS_MAX);
        Self {
            check,
            verdict,
            what,
            todo,
        }
    }
}

/// Longest description of a finding, in characters.
const WHAT_CHARACTERS_MAX: usize = 400;

/// Everything that was found about one connector.
#[derive(Clone, Debug)]
pub struct Report {
    /// The connector URL.
    pub url: Url,
    /// In the order in which a client would come to them.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether clients cannot connect.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding.verdict == verdict)
            .count()
    }

    /// For people: a line for each check, and below it what to do.
    #[must_use]
    pub fn to_text(&self) -> String {
        let names = self
            .findings
            .iter()
            .map(|finding| finding.check.chars().count());
        let width = names.max().unwrap_or_default();
        let mut text = format!("{}\n\n", self.url);
        for Finding {
            check,
            verdict,
            what,
            todo,
        } in &self.findings
        {
            text += &format!("{}  {check:width$}  {what}\n", verdict.word());
            if !todo.is_empty() {
                text += &format!("      {:width$}  → {todo}\n", "");
            }
        }
        let (fails, warnings) = (self.count(Verdict::Fail), self.count(Verdict::Warn));
        text += &match (fails, warnings) {
            (0, 0) => "\nNothing found that would stop a client.\n".to_owned(),
            (0, warnings) => format!("\nClients can connect. Warnings: {warnings}.\n"),
            (fails, warnings) => {
                format!("\nClients cannot connect. Failures: {fails}, warnings: {warnings}.\n")
            }
        };
        text
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "check": finding.check,
                "verdict": finding.verdict.word(),
                "what": finding.what,
                "todo": finding.todo,
            })
        });
        json!({
            "url": self.url.as_str(),
            "ok": !self.has_failed(),
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}
