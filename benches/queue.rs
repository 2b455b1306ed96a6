//! Cost of reading a qmail queue of 100,000 messages with warm caches: names alone, the summary, rows, and rows with
//! subjects; for rows also the bare system calls, which are the lower bound. The queue is made in the folder for
//! temporary files.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench")]

use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use nix::sched::CloneFlags;
use nix::sched::unshare;
use portcullis::queue::look::File;
use portcullis::queue::look::filter::Filter;
use portcullis::queue::look::layout::Queue;
use portcullis::queue::look::list;
use portcullis::queue::look::read::Want;
use portcullis::queue::look::scan;
use portcullis::queue::look::scan::Entry;
use portcullis::queue::look::scan::threads;

fn queue(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let queue = Queue::open(folder.path()).unwrap();
    let subject = vec!["subject".to_owned()];
    let rows = [
        ("summary", Want { rough: true, ..Want::default() }),
        ("rows without subjects", Want { recipients: Some(0), header: None, ..Want::default() }),
        ("rows with subjects", Want { recipients: Some(0), header: Some(subject), ..Want::default() }),
    ];
    let mut group = criterion.benchmark_group("queue");
    group.sample_size(10).throughput(Throughput::Elements(MESSAGES));
    group.bench_function("names", |bencher| bencher.iter(|| scan::scan(&queue, &|_, _| {}).unwrap()));
    for (name, subjects) in [("calls of rows without subjects", false), ("calls of rows with subjects", true)] {
        let entries = scan::scan(&queue, &|_, _| {}).unwrap().entries;
        group.bench_function(name, |bencher| bencher.iter(|| call(&queue, &entries, subjects)));
    }
    for (name, want) in rows {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let scan = scan::scan(&queue, &|_, _| {}).unwrap();
                let mut count = 0;
                list::each(&queue, &scan.entries, &Filter::default(), &want, 0, &|_| {}, &mut |message| {
                    count += u64::from(black_box(message).sender.is_some());
                    ControlFlow::Continue(())
                });
                assert_eq!(count, MESSAGES);
            });
        });
    }
    group.finish();
}

/// The system calls of rows, on as many threads, with their results unused.
fn call(queue: &Queue, entries: &[Entry], subjects: bool) {
    thread::scope(|scope| {
        for part in entries.chunks(entries.len().div_ceil(threads())) {
            scope.spawn(move || {
                let _ = unshare(CloneFlags::CLONE_FILES);
                let (mut place, mut buffer) = (String::new(), [0; 4096]);
                for entry in part {
                    if !subjects {
                        queue.stat_of(File::Mess, entry.id, &mut place).unwrap();
                    }
                    for file in entry.files.iter().filter(|file| subjects || *file != File::Mess) {
                        let mut opened = queue.read_of(file, entry.id, &mut place).unwrap();
                        if file == File::Info {
                            black_box(nix::sys::stat::fstat(&opened).unwrap());
                        }
                        black_box(opened.read(&mut buffer).unwrap());
                    }
                }
            });
        }
    });
}

/// Fills the queue with messages in delivery, one recipient each, every third on this host.
fn fill(root: &Path) {
    for kind in ["mess", "info", "local", "remote"] {
        (0..SPLIT).for_each(|at| fs::create_dir_all(root.join(format!("{kind}/{at}"))).unwrap());
    }
    ["todo", "intd", "bounce", "pid", "lock"].iter().for_each(|kind| fs::create_dir(root.join(kind)).unwrap());
    for number in 0..MESSAGES {
        let made = root.join("pid/made");
        fs::write(
            &made,
            format!("Received: (qmail 1 invoked from network)\nFrom: a\nTo: b\nSubject: news {number}\n\ntext\n"),
        )
        .unwrap();
        let id = fs::metadata(&made).unwrap().ino();
        let place = |kind: &str| root.join(format!("{kind}/{}/{id}", id % SPLIT));
        fs::rename(&made, place("mess")).unwrap();
        fs::write(place("info"), format!("Fsender{}@host{}.example\0", number % 5000, number % 500)).unwrap();
        let kind = if number % 3 == 0 { "local" } else { "remote" };
        fs::write(place(kind), "Tjoe@remote.example\0").unwrap();
    }
}

const MESSAGES: u64 = 100_000;
/// conf-split
const SPLIT: u64 = 23;

criterion_group!(benches, queue);
criterion_main!(benches);
