//! Octets that wait to be written: pieces in a row, sent with one system call where the socket can gather them.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Buf;
use bytes::Bytes;

/// A queue of octets.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, octets: Bytes) {
        if !octets.is_empty() {
            self.len += octets.len();
            self.pieces.push_back(octets);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is_one_piece(&self) -> bool {
        self.pieces.len() == 1
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.pieces).map(|(slice, piece)| *slice = IoSlice::new(piece));
        filled.count()
    }

    fn advance(&mut self, count: usize) {
        self.len -= count;
        let mut left = count;
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else { return };
            let taken = left.min(front.len());
            front.advance(taken);
            left -= taken;
            if front.is_empty() {
                self.pieces.pop_front();
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
