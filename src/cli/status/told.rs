//! An explanation as lines of text, for the terminal view. It must not judge.

use indicatif::DecimalBytes;

use crate::cli::status::seen::Step;
use crate::cli::status::seen::Story;
use crate::text::shell;

impl Story {
    /// What would happen, each command with its reply, and what else counts; with strangers' words as they are.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} (from {})", self.verdict, self.client), String::new()];
        lines.extend(self.steps.iter().flat_map(Step::lines));
        if self.verdict == "accept" {
            lines.push("up to its text, which is not asked here: a copy is known by it, at the final dot".to_owned());
        }
        let limit = self.size_limit.map(|limit| {
            let rule = self.size_rule.as_deref().map_or_else(String::new, |rule| format!(", by {rule}"));
            format!("size limit: {}{rule}", DecimalBytes(limit))
        });
        let rules = self.tcprules.as_ref().map(|rule| format!("tcprules: {rule}"));
        let lift =
            self.throttled.iter().map(|key| format!("portcullis unblock {} lifts the throttle", shell::word(key)));
        let more: Vec<String> = rules.into_iter().chain(limit).chain(lift).collect();
        if !more.is_empty() {
            lines.push(String::new());
            lines.extend(more);
        }
        lines
    }
}

impl Step {
    fn lines(&self) -> Vec<String> {
        let Some(reply) = &self.reply else { return vec![format!("{:<10} {}", self.verdict, self.command)] };
        let code = self.code.map_or_else(String::new, |code| code.to_string());
        // A reply begins with its code as it is sent.
        let reply = match reply.starts_with(&code) {
            true => reply.clone(),
            false => format!("{code} {reply}"),
        };
        let because: Vec<&str> = self.reason.iter().chain(&self.rule).map(String::as_str).collect();
        let mut lines = vec![format!("{:<10} {}", self.verdict, self.command), format!("{:<10} {reply}", "")];
        if !because.is_empty() {
            lines.push(format!("{:<10} because: {}", "", because.join(", ")));
        }
        lines
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_refusal() {
        let story: Story = serde_json::from_str(
            r#"{ "verdict": "reject", "client": "192.0.2.7", "size_limit": 26214400, "size_rule": "databytes",
            "throttled": ["retries:192.0.2.0/24"],
            "steps": [{ "command": "EHLO c.example", "verdict": "accept" }, { "command": "MAIL FROM:<a@b.example>",
            "verdict": "reject", "code": 554, "reply": "554 5.7.1 Blocked", "reason": "badmailfrom", "rule": "line 3" }] }"#,
        )
        .unwrap();
        let expected = [
            "reject (from 192.0.2.7)",
            "",
            "accept     EHLO c.example",
            "reject     MAIL FROM:<a@b.example>",
            "           554 5.7.1 Blocked",
            "           because: badmailfrom, line 3",
            "",
            "size limit: 26.21 MB, by databytes",
            "portcullis unblock retries:192.0.2.0/24 lifts the throttle",
        ];
        assert_eq!(story.lines(), expected);
        assert_eq!(Story::default().lines().len(), 2);
    }
}
