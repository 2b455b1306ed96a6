//! `[admin]`: where the running proxy answers its operator. It must not offer an address that is not loopback.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use crate::config::checked::Admin;
use crate::config::checked::AdminListen;
use crate::config::reader::Section;
use crate::config::sections::server::listen_address;

pub(crate) fn read(section: &mut Section<'_>) -> Admin {
    let listen = section.parsed("listen", |text| match text.strip_prefix("unix:") {
        None if text.is_empty() => Ok(AdminListen::Off),
        None if text.contains('/') && !text.contains("://") => Err(format!("write \"unix:{text}\"")),
        None => loopback(text).map(AdminListen::Tcp),
        Some("") => Err("write \"unix:/run/portcullis.sock\"".to_owned()),
        Some(path) => Ok(AdminListen::Unix(path.into())),
    });
    let token_file = section.optional_text("token_file").map_or_else(|| DEFAULT_TOKEN.to_owned(), |file| file.value);
    Admin {
        listen: listen.map_or(AdminListen::Tcp(DEFAULT_LISTEN), |listen| listen.value),
        token_file: PathBuf::from(token_file),
    }
}

/// The token goes over the wire in the clear.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let port = text.rsplit([':', '/']).next().and_then(|port| port.parse::<NonZeroU16>().ok());
    match listen_address(text) {
        Ok(address) if address.ip().to_canonical().is_loopback() => Ok(address),
        _ => Err(format!(
            "write an address that only this host reaches, such as \"127.0.0.1:{}\" or \"unix:/run/portcullis.sock\"",
            port.map_or(DEFAULT_LISTEN.port(), NonZeroU16::get)
        )),
    }
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8025);
const DEFAULT_TOKEN: &str = "portcullis-token";
