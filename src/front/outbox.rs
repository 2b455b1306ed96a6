//! Octets that wait to be written: pieces in a row, sent with one system call where the socket can gather them. It must not
//! copy a piece.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use bytes::Buf;
use bytes::Bytes;

/// A queue of octets. Mostly there is one piece or none: only more of them need an allocation.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: Pieces,
    len: usize,
}

#[derive(Debug, Default)]
enum Pieces {
    #[default]
    None,
    One(Bytes),
    Many(VecDeque<Bytes>),
}

impl Outbox {
    pub(super) fn push(&mut self, octets: Bytes) {
        if octets.is_empty() {
            return;
        }
        self.len += octets.len();
        self.pieces = match mem::take(&mut self.pieces) {
            Pieces::None => Pieces::One(octets),
            Pieces::One(first) => Pieces::Many([first, octets].into()),
            Pieces::Many(mut pieces) => {
                pieces.push_back(octets);
                Pieces::Many(pieces)
            }
        };
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is_one_piece(&self) -> bool {
        matches!(self.pieces, Pieces::One(_))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        match &self.pieces {
            Pieces::None => &[],
            Pieces::One(piece) => piece,
            Pieces::Many(pieces) => pieces.front().map_or(&[], |piece| piece),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Pieces::Many(pieces) = &self.pieces else {
            let Some(slice) = slices.first_mut().filter(|_| self.len > 0) else { return 0 };
            *slice = IoSlice::new(self.chunk());
            return 1;
        };
        slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        self.len -= count;
        if self.len == 0 {
            return self.clear();
        }
        let mut left = count;
        match &mut self.pieces {
            Pieces::None => {}
            Pieces::One(piece) => piece.advance(left),
            Pieces::Many(pieces) => {
                while let Some(front) = pieces.front_mut().filter(|_| left > 0) {
                    let taken = left.min(front.len());
                    front.advance(taken);
                    left -= taken;
                    if front.is_empty() {
                        pieces.pop_front();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_whatever_the_socket_takes() {
        for step in 1..12 {
            let mut outbox = Outbox::default();
            for piece in ["abc", "", "defgh", "i"] {
                outbox.push(Bytes::from_static(piece.as_bytes()));
            }
            let mut seen = Vec::new();
            while !outbox.is_empty() {
                let mut slices = [IoSlice::new(&[]); 8];
                let count = outbox.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = step.min(all.len());
                seen.extend_from_slice(&all[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(seen, b"abcdefghi", "{step} octets at a time");
        }
    }
}
