//! nginx's mail proxy (Debian: nginx-light and libnginx-mod-mail). It asks by HTTP at the first RCPT whether to accept;
//! a server block of the same nginx answers. Its buffer of 4 KB splits a message into two writes, which Nagle's
//! algorithm keeps 40 ms apart.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use nix::unistd::Uid;

use crate::host;
use crate::systems::starting;
use crate::systems::starting::Starting;
use crate::workload::STRANGER;

pub(super) fn missing() -> Option<String> {
    starting::missing(PROGRAM, "nginx-light")
        .or_else(|| starting::missing(&[MODULE], "libnginx-mod-mail"))
        // As another user it would need folders that only root may use.
        .or_else(|| (!Uid::effective().is_root()).then(|| "as Debian builds it only root can start it".to_owned()))
}

pub(super) fn start(starting: &Starting<'_>, sink: SocketAddr, certificates: &Path) -> io::Result<SocketAddr> {
    let program = starting::program(PROGRAM).ok_or(io::ErrorKind::NotFound)?;
    let (address, policy) = (host::free_address()?, host::free_address()?);
    let folder = starting.folder.display().to_string();
    let tls = TLS.replace("{certificates}", &certificates.display().to_string());
    let text = CONFIGURATION
        .replace("{tls}", if starting.setup.tls { &tls } else { "" })
        .replace("{folder}", &folder)
        .replace("{listen}", &address.to_string())
        .replace("{policy}", &policy.to_string())
        .replace("{sink}", &sink.ip().to_string())
        .replace("{port}", &sink.port().to_string())
        .replace("{stranger}", STRANGER);
    let file = starting.write("nginx.conf", &text)?;
    let mut command = starting.group.command(program);
    command.args(["-e", "stderr", "-p"]).arg(&starting.folder).arg("-c").arg(file);
    let log = starting.spawn(&mut command, "nginx.log")?;
    starting.until_greeting(&log, address)
}

const PROGRAM: &[&str] = &["/usr/sbin/nginx"];
const MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

const TLS: &str = "\
        starttls on;
        ssl_certificate {certificates}/certificate.pem;
        ssl_certificate_key {certificates}/key.pem;
        ssl_protocols TLSv1.3;
        ssl_session_tickets off;
";

const CONFIGURATION: &str = "\
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
user root;
daemon off;
worker_processes auto;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log stderr emerg;
events {
    worker_connections 9000;
}
mail {
    server_name nginx.example;
    auth_http {policy}/;
    timeout 10m;
    smtp_client_buffer 64k;
    proxy_buffer 64k;
    smtp_capabilities PIPELINING 8BITMIME \"SIZE 0\";
    smtp_auth none;
    xclient off;
    server {
        listen {listen} backlog=4096;
        protocol smtp;
{tls}    }
}
http {
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_auth_smtp_from $status_of {
        default OK;
        ~*{stranger} \"not wanted\";
    }
    map $http_auth_smtp_from $code_of {
        default \"\";
        ~*{stranger} \"550 5.7.1\";
    }
    server {
        listen {policy} backlog=4096;
        location / {
            add_header Auth-Status $status_of;
            add_header Auth-Error-Code $code_of;
            add_header Auth-Server {sink};
            add_header Auth-Port {port};
            return 200;
        }
    }
}
";
