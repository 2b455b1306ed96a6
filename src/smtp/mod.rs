//! The words of SMTP: octets to values and back. Pure: it must not do I/O, read a clock, log, or know a session.
//!
//! A command line is cut out of the network's octets, read, and written again, so that the next server reads what was
//! judged:
//!
//! ```
//! use bytes::BytesMut;
//! use portcullis::smtp::command;
//! use portcullis::smtp::command::Command;
//! use portcullis::smtp::line::LineEnd;
//! use portcullis::smtp::line::LineReader;
//! use portcullis::smtp::line::MAX_COMMAND_LINE;
//!
//! let mut input = BytesMut::from("mail from: <Joe@Example.org.>  size=1000 \r\nRCPT TO:<a");
//! let mut lines = LineReader::default();
//! let line = lines.next(&mut input, MAX_COMMAND_LINE, LineEnd::Crlf).unwrap().unwrap();
//! let Ok(Command::Mail(mail)) = command::parse(&line) else { panic!("{line:?}") };
//! assert_eq!(mail.size, Some(1000));
//! assert_eq!(mail.sender.address().unwrap().folded(), b"joe@example.org");
//! assert_eq!(mail.wire(|name| name == "SIZE"), "MAIL FROM:<Joe@Example.org> SIZE=1000\r\n");
//! // The next line has not come yet.
//! assert!(lines.next(&mut input, MAX_COMMAND_LINE, LineEnd::Crlf).is_none());
//! ```
//!
//! A message behind DATA has one end only, whatever line ends are in it (CVE-2023-51764 and its kind):
//!
//! ```
//! use bytes::BytesMut;
//! use portcullis::smtp::data::BareNewline;
//! use portcullis::smtp::data::DataDecoder;
//! use portcullis::smtp::data::DataStatus;
//! use portcullis::smtp::data::Dots;
//!
//! let mut input = BytesMut::from("Subject: x\r\n\r\n\n.\nMAIL FROM:<a@b.example>\r\n.\r\nQUIT\r\n");
//! let (mut decoder, mut text) = (DataDecoder::new(BareNewline::Normalize, false, Dots::Stuffed), Vec::new());
//! let status = decoder.decode(&mut input, &mut |octets| text.extend_from_slice(&octets));
//! assert_eq!(status, DataStatus::End);
//! assert_eq!(text, b"Subject: x\r\n\r\n\r\n..\r\nMAIL FROM:<a@b.example>\r\n");
//! assert_eq!(input, "QUIT\r\n");
//! ```
//!
//! A server's reply is put together from its lines, and says what the server offers:
//!
//! ```
//! use bytes::BytesMut;
//! use portcullis::smtp::reply_reader::ReplyReader;
//!
//! let mut input = BytesMut::from("250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 10");
//! let mut replies = ReplyReader::default();
//! assert!(replies.next(&mut input).is_none());
//! input.extend_from_slice(b"00\r\n");
//! let reply = replies.next(&mut input).unwrap().unwrap();
//! assert_eq!((reply.code, reply.lines.len()), (250, 3));
//! assert!(reply.offer().pipelining);
//! assert_eq!(reply.offer().size, Some(1000));
//! ```

pub mod address;
pub mod command;
pub mod data;
pub mod header;
pub mod line;
pub mod login;
mod parameter;
pub mod received;
pub mod reply;
pub mod reply_reader;
pub mod stuffing;
