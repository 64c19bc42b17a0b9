//! Whatever happens in a lane, in any order.

use super::*;

/// A lane that does whatever its rules permit, in an order drawn from `seed`, with its rows folded alongside.
struct Walk {
    seed: u64,
    lane: Lane,
    rows: BTreeMap<Key, Row>,
    told: Vec<Told>,
    revision: u64,
    /// Every attempt that was begun.
    attempts: Vec<(MessageId, u32)>,
    arrived: BTreeSet<MessageId>,
}

impl Walk {
    fn draw(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.seed >> 33).unwrap() % below
    }

    fn fold(&mut self, event: &Event) {
        let mut keys = Vec::new();
        Due::keys(event, &mut keys);
        for key in keys {
            let row = self.rows.remove(&key);
            if let Some(row) = Due::evolve(&key, row, event) {
                self.rows.insert(key, row);
            }
        }
    }

    fn accept(&mut self, n: u128) {
        self.told.push(accepted(n, 1));
        let position = u64::try_from(self.told.len()).unwrap();
        let (message, person) = (message(n), person(1));
        let (lane, surface) = (person.connection(), SurfaceChoice::Graph);
        self.fold(&Event::Accepted { message, position, lane, person, surface });
    }

    fn append(&mut self, events: Vec<lane::Event>) {
        for event in events {
            self.told.push(in_lane(1, &event));
            let lane = person(1).connection();
            self.fold(&Event::Lane { lane, revision: self.revision, event: event.clone(), at: at(2) });
            if let lane::Event::Delivered { message, .. } = event {
                self.arrived.insert(message);
            }
            self.lane = std::mem::take(&mut self.lane).evolve(event);
            self.revision += 1;
        }
    }

    fn conclude(&mut self, (message, attempt): (MessageId, u32), outcome: Outcome) {
        let decided = self.lane.decide(Command::Conclude { message, attempt, outcome });
        self.append(decided.unwrap_or_default());
    }

    fn outcome(&mut self) -> Outcome {
        let diagnosis = Diagnosis::default;
        match self.draw(7) {
            0 | 1 => Self::delivered(),
            2 => Outcome::Unknown { resend: None, diagnosis: diagnosis() },
            3 => Outcome::Unknown { resend: Some(Surface::Graph), diagnosis: diagnosis() },
            4 => Outcome::Deferred {
                surface: Surface::Graph,
                until: at(60),
                why: lane::DeferReason::NotSent,
                diagnosis: diagnosis(),
            },
            5 => Outcome::Rejected { why: RejectReason::TooLarge, diagnosis: diagnosis() },
            _ => {
                let lane::Event::Parked { parked, diagnosis, .. } = parked(1, 1, 1) else { unreachable!() };
                Outcome::Parked { parked, diagnosis }
            }
        }
    }

    fn delivered() -> Outcome {
        let (chat_id, provider_message_id) = ("19:chat".into(), Some("17".into()));
        Outcome::Delivered { chat_id, provider_message_id, provider_request_id: None }
    }

    fn lane_row(&self) -> Option<&LaneRow> {
        match self.rows.get(&Key::Lane(person(1).connection())) {
            Some(Row::Lane(row)) => Some(row),
            _ => None,
        }
    }

    fn waiting(&self) -> Vec<(u64, MessageId, u32)> {
        let Some(lane) = self.lane_row() else { return vec![] };
        let mut waiting: Vec<_> = self
            .rows
            .iter()
            .filter_map(|(key, row)| match (key, row) {
                (Key::Message(_, id), Row::Message(row)) => Some((row.position, *id, lane.attempts(*id))),
                _ => None,
            })
            .collect();
        waiting.sort_unstable();
        waiting
    }

    fn step(&mut self, number: usize) {
        let head = self.waiting().first().copied();
        match (self.draw(4), self.lane.open.clone(), head) {
            (0, ..) => self.accept(u128::try_from(number).unwrap() + 1),
            (1, ..) if !self.attempts.is_empty() => {
                let which = self.draw(self.attempts.len());
                self.conclude(self.attempts[which], Self::delivered());
            }
            (_, Some(open), _) => {
                let outcome = self.outcome();
                self.conclude((open.message, open.attempt), outcome);
            }
            (_, None, Some((_, message, attempts))) => {
                let resumed = (!self.lane.parked.is_empty()).then_some(resumed());
                let attempt = attempts + 1;
                self.attempts.push((message, attempt));
                self.append(resumed.into_iter().chain([started(message.0.as_u128(), attempt)]).collect());
            }
            (_, None, None) => {}
        }
    }

    fn check(&self) {
        let Some(row) = self.lane_row() else { return };
        let waiting = self.waiting();
        assert_eq!(row.pending, waiting.len() as u64, "pending are those that have a row");
        assert_eq!((&row.open, &row.parked), (&self.lane.open, &self.lane.parked), "as the lane itself says");
        assert!(waiting.iter().all(|(_, message, _)| !self.arrived.contains(message)), "nothing goes twice");
        for (_, message, attempts) in &waiting {
            let begun = self.attempts.iter().filter(|(begun, _)| begun == message).count();
            let open = usize::from(row.open.as_ref().is_some_and(|open| open.message == *message));
            assert_eq!(*attempts as usize + open, begun, "each attempt counts");
        }
        let waits = |message| waiting.iter().any(|(_, waiting, _)| *waiting == message);
        assert!(row.begun.keys().all(|message| waits(*message)), "nothing is kept of what is concluded");
        if row.open.is_none() && row.parked.is_empty() {
            assert_eq!(row.ready_at().is_some(), !waiting.is_empty(), "what waits gets its turn");
        }
    }
}

#[tokio::test]
async fn whatever_happens_in_a_lane_every_message_waits_or_is_concluded() {
    for seed in 0..200 {
        let mut walk = Walk {
            seed,
            lane: Lane::default(),
            rows: BTreeMap::new(),
            told: vec![],
            revision: 0,
            attempts: vec![],
            arrived: BTreeSet::new(),
        };
        for number in 0..60 {
            walk.step(number);
            walk.check();
        }
        if seed % 50 == 0 {
            assert_eq!(rows_of::<Due>(&walk.told).await, walk.rows, "the runner folds alike");
        }
    }
}
