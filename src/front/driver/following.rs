//! The operators that follow the session: the session tells what is said while there are any. It must not wait for them.

use crate::front::driver::Driver;
use crate::session::io::Line;

impl Driver {
    /// Looks whether somebody began to follow the session; mostly one look at a flag.
    pub(super) fn look_for_followers(&mut self) {
        if let Some(following) = self.slot.as_ref().and_then(|slot| slot.new_following()) {
            self.following = Some(Box::new(following));
            self.session.follow(true);
        }
    }

    /// Tells the followers a line.
    pub(super) fn retell(&mut self, line: &Line) {
        let is_heard = self.following.as_mut().is_some_and(|following| following.tell(line, self.now.wall));
        if !is_heard {
            self.following = None;
            self.session.follow(false);
        }
    }
}
