//! Values drawn from keys. A record is a function of (seed, key), so it can be computed again at
//! any time and nothing has to be kept: that is why memory does not grow with the roster.

use sha2::{Digest, Sha256};

/// What a key is about; keeps equal numbers of different things apart.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Session = 1,
    Term,
    Org,
    Course,
    Class,
    Pupil,
    PupilTraits,
    Staff,
    StaffSex,
    Name,
    Master,
    Role,
    Profile,
    Enrollment,
    SpecialNeeds,
    Change,
    Arrivals,
    Category,
    Fault,
    Ghost,
}

/// An identifier with the shape of a UUID v4.
#[derive(Clone, Copy)]
pub(super) struct Id(u128);

impl Id {
    fn new(high: u64, low: u64) -> Self {
        let version = (high & !0xf000) | 0x4000;
        let variant = (low & (u64::MAX >> 2)) | (1 << 63);
        Self((u128::from(version) << 64) | u128::from(variant))
    }

    /// The identifier as a key for things that hang on it.
    pub(super) fn key(self) -> [u64; 2] {
        [(self.0 >> 64) as u64, self.0 as u64]
    }

    /// Appends the text form. Identifiers are most of what is written, hence no formatting
    /// machinery.
    pub(super) fn push_to(self, out: &mut String) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for digit in 0..32 {
            if matches!(digit, 8 | 12 | 16 | 20) {
                out.push('-');
            }
            out.push(char::from(HEX[(self.0 >> (124 - 4 * digit)) as usize & 15]));
        }
    }
}

/// The source of all values of one seed.
pub(super) struct Keys {
    lanes: [u64; 2],
}

impl Keys {
    pub(super) fn new(seed: &str) -> Self {
        let digest = Sha256::digest(seed.as_bytes());
        let word = |from: usize| {
            let bytes = digest.iter().skip(from).take(8);
            bytes.fold(0, |word, byte| (word << 8) | u64::from(*byte))
        };
        Self { lanes: [word(0), word(8)] }
    }

    /// A number of 64 evenly spread bits.
    pub(super) fn num(&self, of: Of, key: &[u64]) -> u64 {
        absorb(self.lanes[0], of, key)
    }

    pub(super) fn id(&self, of: Of, key: &[u64]) -> Id {
        let [high, low] = self.lanes.map(|lane| absorb(lane, of, key));
        Id::new(high, low)
    }

    /// An identifier that belongs to another one.
    pub(super) fn id_of(&self, of: Of, id: Id) -> Id {
        self.id(of, &id.key())
    }
}

/// Each step is a bijection of the state, so two keys that differ in one part never meet in a lane.
fn absorb(lane: u64, of: Of, key: &[u64]) -> u64 {
    key.iter().fold(mix(lane ^ of as u64), |state, part| mix(state ^ part))
}

/// One step of SplitMix64: fast, and good enough for made-up data.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
