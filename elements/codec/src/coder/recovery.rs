// SPDX-License-Identifier: Apache-2.0
//! Long-term references: what both sides keep of a marked frame, and how the encoder knows which of
//! them the receiver holds.
//!
//! There are two places. While the frame in one is known to have arrived, the other takes newer ones,
//! so the receiver always holds what a recovery frame needs. A frame counts as arrived when no loss
//! was reported for [`RecoverySettings::delay`] after it, which must be longer than a report takes; or
//! at once, where the report itself says what is held ([`LossReport::held`]).

use crate::bitstream::LONG_TERM_SLOTS;

/// What a receiver says after a loss. Without any details, as they do not fit into RTCP, it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LossReport {
    /// The newest frame that had arrived.
    pub last: Option<u16>,
    /// The newest long-term reference that is held; `Some(None)` where there is none.
    pub held: Option<Option<u16>>,
}

/// The encoder's choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoverySettings {
    /// Keeps long-term references at all. Else a loss is answered by a key frame.
    pub long_term: bool,
    /// Frames without a report of a loss after which a frame counts as arrived.
    pub delay: u32,
}

impl Default for RecoverySettings {
    fn default() -> Self {
        Self {
            long_term: true,
            delay: 15,
        }
    }
}

/// So many recovery frames in a row are made from one reference: after that, whoever asks does not
/// seem to hold it.
const MAX_TRIES: u32 = 24;
/// After a report, so many times the delay pass until contexts may run from frame to frame again.
const CAUTION: u64 = 20;

/// How a frame is to be coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// From the frame before.
    None,
    /// From the long-term reference in this place.
    Recover(usize),
    Key,
}

/// A marked frame, on the encoder's side.
#[derive(Debug)]
struct Marked {
    /// The frame's number.
    number: u16,
    /// When it was marked.
    at: u64,
    arrived: bool,
    tries: u32,
}

/// The encoder's long-term references.
#[derive(Debug)]
pub(super) struct LongTerm {
    settings: RecoverySettings,
    slots: [Option<Marked>; LONG_TERM_SLOTS],
    /// Frames coded.
    now: u64,
    report: Option<LossReport>,
    /// Of the last report.
    reported: Option<u64>,
    /// Number of the last key or recovery frame.
    answered: Option<u16>,
}

/// True where `a` is a later frame number than `b`.
pub(super) fn later(a: u16, b: u16) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000
}

impl LongTerm {
    pub fn new(settings: RecoverySettings) -> Self {
        Self {
            settings,
            slots: Default::default(),
            now: 0,
            report: None,
            reported: None,
            answered: None,
        }
    }

    /// Takes in a report; the next frame answers it.
    pub fn report(&mut self, report: LossReport) {
        if !self.settings.long_term {
            self.report = Some(report);
            return;
        }
        if let (Some(last), Some(answered)) = (report.last, self.answered)
            && later(answered, last)
        {
            // The receiver had not seen the answer yet.
            return;
        }
        self.report = Some(report);
        self.reported = Some(self.now);
    }

    /// How the next frame must be coded, given what else asks for a key frame.
    pub fn answer(&mut self, key: bool) -> Answer {
        self.age();
        let report = self.report.take();
        if key {
            return Answer::Key;
        }
        let Some(report) = report else {
            return Answer::None;
        };
        for marked in self.slots.iter_mut().flatten() {
            marked.arrived |= report.held == Some(Some(marked.number));
        }
        let arrived = self.newest(|m| m.arrived);
        for (i, slot) in self.slots.iter_mut().enumerate() {
            // What is newer than the newest that is held did not arrive.
            let gone = |marked: &Marked| match report.held {
                Some(None) => true,
                Some(Some(held)) => !marked.arrived || later(marked.number, held),
                None => !marked.arrived && arrived.is_some_and(|other| other != i),
            };
            if slot.as_ref().is_some_and(gone) {
                *slot = None;
            }
        }
        let usable = |marked: &Marked| match report.held {
            Some(held) => held == Some(marked.number),
            None => marked.arrived,
        };
        // Where nothing is known to have arrived, the oldest, as a rule the key frame, is the best guess:
        // whoever does not hold it asks for another one in so many words, and who holds a part is
        // helped by this.
        let guess = || {
            let slots = self.slots.iter().enumerate();
            let oldest = slots
                .filter_map(|(i, s)| s.as_ref().map(|m| (m.at, i)))
                .min();
            oldest.filter(|_| report.held.is_none()).map(|(_, i)| i)
        };
        match self.newest(usable).or_else(guess) {
            Some(slot) => {
                if let Some(marked) = &mut self.slots[slot] {
                    marked.tries += 1;
                    if marked.tries > MAX_TRIES {
                        return Answer::Key;
                    }
                }
                Answer::Recover(slot)
            }
            None => Answer::Key,
        }
    }

    /// Takes what has been there long enough for arrived.
    fn age(&mut self) {
        let delay = u64::from(self.settings.delay);
        for marked in self.slots.iter_mut().flatten() {
            marked.arrived |= self.now - marked.at > delay;
        }
    }

    fn newest(&self, wanted: impl Fn(&Marked) -> bool) -> Option<usize> {
        let slots = self.slots.iter().enumerate();
        let found = slots.filter_map(|(i, s)| s.as_ref().filter(|m| wanted(m)).map(|m| (m.at, i)));
        found.max().map(|(_, i)| i)
    }

    /// The number of the frame that is kept there.
    pub fn number(&self, slot: usize) -> Option<u16> {
        self.slots.get(slot)?.as_ref().map(|marked| marked.number)
    }

    /// Where the frame that is being coded should be kept.
    pub fn mark(&self, answer: Answer) -> Option<u8> {
        if !self.settings.long_term {
            return None;
        }
        let arrived = self.newest(|m| m.arrived);
        let waiting = self.slots.iter().flatten().any(|m| !m.arrived);
        match (answer, arrived) {
            (Answer::Key, _) => Some(0),
            (Answer::Recover(slot), _) => Some(1 - slot as u8),
            (Answer::None, _) if waiting => None,
            (_, Some(slot)) => Some(1 - slot as u8),
            (_, None) => Some(0),
        }
    }

    /// Contexts should not run from frame to frame for now.
    pub fn cautious(&self) -> bool {
        let time = CAUTION * u64::from(self.settings.delay.max(1));
        self.reported.is_some_and(|at| self.now - at < time)
    }

    /// A frame has been coded, and is kept where it was marked.
    pub fn coded(&mut self, answer: Answer, number: u16, mark: Option<u8>) {
        if answer == Answer::Key {
            // Receivers forget theirs, too: one that joins here has no others.
            self.slots = Default::default();
        }
        if answer != Answer::None {
            self.answered = Some(number);
        }
        if let Some(slot) = mark
            && let Some(place) = self.slots.get_mut(usize::from(slot))
        {
            *place = Some(Marked {
                number,
                at: self.now,
                arrived: false,
                tries: 0,
            });
        }
        self.now += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sender {
        long_term: LongTerm,
        number: u16,
    }

    impl Sender {
        fn new(delay: u32) -> Self {
            let settings = RecoverySettings {
                long_term: true,
                delay,
            };
            Self {
                long_term: LongTerm::new(settings),
                number: 0,
            }
        }

        /// Codes one frame; gives the answer by the number of the reference.
        fn code(&mut self, key: bool) -> (Answer, Option<u16>, Option<u8>) {
            let answer = self.long_term.answer(key);
            let reference = match answer {
                Answer::Recover(slot) => self.long_term.number(slot),
                _ => None,
            };
            let mark = self.long_term.mark(answer);
            self.long_term.coded(answer, self.number, mark);
            self.number += 1;
            (answer, reference, mark)
        }

        fn frames(&mut self, count: usize) -> Vec<(Answer, Option<u16>, Option<u8>)> {
            (0..count).map(|_| self.code(false)).collect()
        }
    }

    fn report(last: u16, held: Option<u16>) -> LossReport {
        LossReport {
            last: Some(last),
            held: Some(held),
        }
    }

    #[test]
    fn marks_follow_one_another_in_both_places() {
        let mut sender = Sender::new(4);
        sender.code(true);
        let marks: Vec<_> = sender.frames(16).into_iter().map(|f| f.2).collect();
        let at = |slot| marks.iter().enumerate().filter(move |m| *m.1 == Some(slot));
        assert_eq!(at(1).map(|m| m.0).collect::<Vec<_>>(), [4, 14]);
        assert_eq!(at(0).map(|m| m.0).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn a_bare_report_recovers_from_what_is_old_enough() {
        let mut sender = Sender::new(4);
        sender.code(true);
        // The key frame may itself be lost.
        sender.frames(2);
        sender.long_term.report(LossReport::default());
        let (answer, reference, mark) = sender.code(false);
        assert_eq!(
            (answer, reference, mark),
            (Answer::Recover(0), Some(0), Some(1))
        );
        // Whoever does not hold it says so, and gets a key frame.
        assert_eq!(sender.code(true).0, Answer::Key);
        // That was 4; 9 is marked when it has arrived, and is too young at 10.
        sender.frames(5);
        sender.long_term.report(LossReport::default());
        let (answer, reference, mark) = sender.code(false);
        assert_eq!(
            (answer, reference, mark),
            (Answer::Recover(0), Some(4), Some(1))
        );
        // That one is answered, and 10 is used when it is old enough.
        assert_eq!(sender.code(false).0, Answer::None);
        sender.frames(6);
        sender.long_term.report(LossReport::default());
        assert_eq!(sender.code(false).1, Some(10));
    }

    #[test]
    fn a_full_report_is_believed() {
        let mut sender = Sender::new(100);
        sender.code(true);
        sender.frames(3);
        sender.long_term.report(report(2, Some(0)));
        let (answer, reference, mark) = sender.code(false);
        assert_eq!(
            (answer, reference, mark),
            (Answer::Recover(0), Some(0), Some(1))
        );
        // Sent before the answer arrived.
        sender.long_term.report(report(3, Some(0)));
        assert_eq!(sender.code(false).0, Answer::None);
        // The answer was damaged.
        sender.long_term.report(report(5, Some(0)));
        assert_eq!(sender.code(false).1, Some(0));
        sender.frames(2);
        sender.long_term.report(report(8, Some(6)));
        assert_eq!(sender.code(false).1, Some(6));
        // Nothing is held.
        sender.long_term.report(report(10, None));
        assert_eq!(sender.code(false).0, Answer::Key);
    }

    #[test]
    fn who_asks_on_and_on_gets_a_key_frame() {
        let mut sender = Sender::new(2);
        sender.code(true);
        sender.frames(4);
        let mut recovered = 0;
        loop {
            sender.long_term.report(LossReport::default());
            match sender.code(false).0 {
                Answer::Key => break,
                _ => recovered += 1,
            }
            assert!(recovered <= 2 * MAX_TRIES);
        }
        assert!(recovered >= MAX_TRIES);
    }

    #[test]
    fn caution_ends() {
        let mut sender = Sender::new(2);
        sender.code(true);
        assert!(!sender.long_term.cautious());
        sender.long_term.report(LossReport::default());
        sender.frames(30);
        assert!(sender.long_term.cautious());
        sender.frames(30);
        assert!(!sender.long_term.cautious());
    }

    #[test]
    fn numbers_wrap() {
        assert!(later(1, 0xffff) && !later(0xffff, 1) && !later(7, 7) && later(8, 7));
    }
}
