//! Postfix as a filter before the queue (smtpd_proxy_filter), with folders of its own: nothing of the host's Postfix is
//! read but its programs. Its protection against clients is off, as in the other systems.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use nix::unistd::Uid;

use crate::host;
use crate::systems::starting;
use crate::systems::starting::Starting;
use crate::workload::LIMIT;
use crate::workload::STRANGER;

pub(super) fn missing() -> Option<String> {
    starting::missing(MASTER, "postfix")
        .or_else(|| (!Uid::effective().is_root()).then(|| "only root can start it".to_owned()))
}

pub(super) fn start(starting: &Starting<'_>, sink: SocketAddr, certificates: &Path) -> io::Result<SocketAddr> {
    let program = starting::program(MASTER).ok_or(io::ErrorKind::NotFound)?;
    host::make_postfix_folders(&starting.folder)?;
    let address = host::free_address()?;
    let limit = if starting.setup.limited { LIMIT } else { 0 };
    let tls = TLS.replace("{certificates}", &certificates.display().to_string());
    let text = MAIN
        .replace("{tls}", if starting.setup.tls { &tls } else { "" })
        .replace("{folder}", &starting.folder.display().to_string())
        .replace("{sink}", &sink.to_string())
        .replace("{limit}", &limit.to_string())
        .replace("{stranger}", STRANGER);
    starting.write("etc/main.cf", &text)?;
    starting.write("etc/master.cf", &SERVICES.replace("{listen}", &address.to_string()))?;
    let mut command = starting.group.command(program);
    command.arg("-c").arg(starting.folder.join("etc")).env("MAIL_LOGTAG", "postfix");
    let log = starting.spawn(&mut command, "postfix.log")?;
    starting.until_greeting(&log, address)
}

const MASTER: &[&str] = &["/usr/lib/postfix/sbin/master", "/usr/libexec/postfix/master"];

const TLS: &str = "\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {certificates}/key.pem, {certificates}/certificate.pem
smtpd_tls_mandatory_protocols = >=TLSv1.3
smtpd_tls_session_cache_database =
tls_ssl_options = NO_TICKET
";

const MAIN: &str = "\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
local_transport = discard
default_transport = discard
local_recipient_maps =
default_process_limit = 500
message_size_limit = {limit}
smtpd_proxy_filter = {sink}
smtpd_proxy_timeout = 600s
smtpd_timeout = 600s
smtpd_delay_reject = no
smtpd_sender_restrictions = check_sender_access inline:{{stranger}=REJECT}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_peername_lookup = no
smtpd_client_event_limit_exceptions = static:all
smtpd_hard_error_limit = 1000000
smtpd_soft_error_limit = 1000000
smtpd_junk_command_limit = 1000000
smtpd_error_sleep_time = 0
{tls}";

const SERVICES: &str = "\
{listen} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
";
