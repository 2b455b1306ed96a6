//! Style and script of the page, which stand inside it, and the policy that lets a browser run these and nothing else. It
//! must not hold a stranger's text.

use std::sync::LazyLock;

use tokio_rustls::rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// The style.
pub(super) fn css() -> &'static str {
    static CSS: LazyLock<String> = LazyLock::new(|| terse(include_str!("page.css")));
    &CSS
}

/// The script.
pub(super) fn js() -> &'static str {
    static JS: LazyLock<String> = LazyLock::new(|| terse(include_str!("page.js")));
    &JS
}

/// The value of Content-Security-Policy for the page.
pub(super) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let (style, script) = (digest(css()), digest(js()));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; \
             img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// A text without indentation and without lines that are a comment: neither file has a string that goes on in the next line.
fn terse(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("// "));
    lines.collect::<Vec<_>>().join("\n")
}

/// SHA-256 in base64 (RFC 4648 section 4), as Content-Security-Policy wants it.
fn digest(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let suite = TLS13_AES_128_GCM_SHA256.tls13().map(|suite| suite.common.hash_provider.hash(text.as_bytes()));
    let hash = suite.iter().flat_map(|hash| hash.as_ref()).copied().collect::<Vec<u8>>();
    let group = |octets: &[u8]| -> String {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(octets.get(at).copied().unwrap_or(0)));
        let letter = |at: usize| match at <= octets.len() {
            true => char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        (0..4).map(letter).collect()
    };
    hash.chunks(3).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_browsers_compute() {
        // FIPS 180-2 appendix B.1
        assert_eq!(digest("abc"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn style_and_script_cannot_end_their_elements() {
        assert!(!css().contains("</") && !js().contains("</") && !js().contains("<!--"));
    }
}
