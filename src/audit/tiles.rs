//! The nodes of a Merkle tree in tiles of 256, as C2SP tlog-tiles has them: growing, roots, proofs.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use tlog_tiles::tile::Tile;
use tlog_tiles::tlog::{EMPTY_HASH, Error, Hash, HashReader, node_hash, prove_record, prove_tree};

const HEIGHT: u8 = 8;
/// Hashes in a whole tile.
pub const WIDTH: usize = 1 << HEIGHT;
/// Bytes of a hash.
pub const HASH: usize = 32;

/// Level, and number within the level from 0.
pub type TileId = (u8, u64);

/// The right edge of a tree, at which it grows.
#[derive(Default)]
pub struct Edge {
    size: u64,
    /// Of each level the last tile, not yet whole.
    open: Vec<Vec<u8>>,
    /// Tiles that became whole since they were last taken.
    whole: Vec<(TileId, Vec<u8>)>,
}

impl Edge {
    /// Which tiles a tree of this size grows at, and how many hashes of each count.
    pub fn of(size: u64) -> Vec<(TileId, usize)> {
        (0..8)
            .map(|level| (level, size >> (HEIGHT * level)))
            .take_while(|(_, nodes)| *nodes > 0)
            .map(|(level, nodes)| ((level, nodes / WIDTH as u64), (nodes % WIDTH as u64) as usize))
            .collect()
    }

    /// A tree of this size, from the tiles named by [`Edge::of`]. None: one is missing or too short.
    pub fn resume(size: u64, tiles: &HashMap<TileId, Vec<u8>>) -> Option<Self> {
        let mut open = Vec::new();
        for (tile, width) in Self::of(size) {
            let hashes = if width == 0 { &[] } else { tiles.get(&tile)?.get(..width * HASH)? };
            open.push(hashes.to_vec());
        }
        Some(Self { size, open, whole: Vec::new() })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn push(&mut self, leaf: Hash) {
        self.size += 1;
        let mut node = leaf;
        for level in 0_u8.. {
            if self.open.len() <= usize::from(level) {
                self.open.push(Vec::with_capacity(WIDTH * HASH));
            }
            let Some(tile) = self.open.get_mut(usize::from(level)) else { return };
            tile.extend_from_slice(&node.0);
            if tile.len() < WIDTH * HASH {
                return;
            }
            let hashes = std::mem::take(tile);
            node = Tile::subtree_hash(&hashes);
            self.whole.push(((level, (self.size >> (HEIGHT * (level + 1))) - 1), hashes));
        }
    }

    /// Tiles that are new or wider than when this was last called, and then are no longer kept here.
    pub fn take_tiles(&mut self) -> Vec<(TileId, Vec<u8>)> {
        let mut tiles = std::mem::take(&mut self.whole);
        for (tile, width) in Self::of(self.size) {
            if width > 0 {
                tiles.push((tile, self.open.get(usize::from(tile.0)).cloned().unwrap_or_default()));
            }
        }
        tiles
    }

    /// The tree's root (RFC 6962, section 2.1).
    pub fn root(&self) -> Hash {
        let mut peaks = Vec::new();
        for hashes in self.open.iter().rev() {
            let mut rest: &[u8] = hashes;
            while !rest.is_empty() {
                let count = rest.len() / HASH;
                let (peak, after) = rest.split_at((1 << count.ilog2()) * HASH);
                peaks.push(Tile::subtree_hash(peak));
                rest = after;
            }
        }
        let last = peaks.pop();
        peaks
            .into_iter()
            .rev()
            .fold(None, |root, peak| root.or(last).map(|right| node_hash(peak, right)))
            .or(last)
            .unwrap_or(EMPTY_HASH)
    }
}

/// Tiles that were read so far, and those that a proof turned out to need.
#[derive(Default)]
pub struct Reader {
    pub tiles: HashMap<TileId, Vec<u8>>,
    wanted: RefCell<BTreeSet<TileId>>,
}

impl Reader {
    /// What is still to be read, and then asked for again.
    pub fn wanted(&self) -> BTreeSet<TileId> {
        self.wanted.take()
    }

    /// Hashes that prove that the leaf is in the tree of this size (RFC 6962, section 2.1.1).
    pub fn inclusion(&self, leaf: u64, size: u64) -> Result<Vec<Hash>, Error> {
        prove_record(size, leaf, self)
    }

    /// Hashes that prove that the tree of size `new` begins with that of size `old` (RFC 6962, section 2.1.2).
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        prove_tree(new, old, self)
    }
}

impl HashReader for Reader {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let at = |index: &u64| {
            let needed = Tile::from_index(HEIGHT, *index);
            let id = (needed.level(), needed.level_index());
            let Some(hashes) = self.tiles.get(&id) else {
                self.wanted.borrow_mut().insert(id);
                return Err(Error::IndexesNotInTree);
            };
            let width = u32::try_from(hashes.len() / HASH).map_err(|_| Error::InvalidTile)?;
            if width < needed.width() || width as usize > WIDTH {
                return Err(Error::InvalidTile);
            }
            Tile::new(HEIGHT, id.0, id.1, width, false).hash_at_index(hashes, *index)
        };
        // All of them, so that all missing tiles are known at once.
        let all: Vec<_> = indexes.iter().map(at).collect();
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use tlog_tiles::tlog::{check_record, check_tree, record_hash, stored_hashes, tree_hash};

    use super::*;

    fn leaf(n: u64) -> Hash {
        record_hash(&n.to_be_bytes())
    }

    /// The library's own storage: every node by its index.
    #[derive(Default)]
    struct Flat(Vec<Hash>);

    impl HashReader for Flat {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
            Ok(indexes.iter().map(|n| self.0[*n as usize]).collect())
        }
    }

    #[test]
    fn grows_like_the_librarys_tree_and_from_any_size() {
        let (mut flat, mut edge, mut reader) = (Flat::default(), Edge::default(), Reader::default());
        let sizes = [1, 2, 3, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 70_000];
        assert_eq!(edge.root().0, EMPTY_HASH.0);
        let mut roots = vec![(0, EMPTY_HASH)];
        for size in sizes {
            while edge.size() < size {
                let n = edge.size();
                let stored = stored_hashes(n, &n.to_be_bytes(), &flat).unwrap();
                flat.0.extend(stored);
                edge.push(leaf(n));
            }
            assert_eq!(edge.root().0, tree_hash(size, &flat).unwrap().0, "{size}");
            roots.push((size, edge.root()));
            reader.tiles.extend(edge.take_tiles());
            edge = Edge::resume(size, &reader.tiles).unwrap();
        }
        let (size, root) = (70_000, edge.root());
        for n in [0, 1, 255, 256, 40_000, 65_536, 69_999] {
            let proof = reader.inclusion(n, size).unwrap();
            check_record(&proof, size, root, n, leaf(n)).unwrap();
            assert!(check_record(&proof, size, root, n, leaf(n + 1)).is_err());
        }
        for (old, before) in &roots[1..] {
            let proof = reader.consistency(*old, size).unwrap();
            check_tree(&proof, size, root, *old, *before).unwrap();
        }
        assert!(Edge::resume(70_001, &reader.tiles).is_none(), "a tile is too short");
    }

    #[test]
    fn missing_tiles_are_named() {
        let mut edge = Edge::default();
        (0..600).for_each(|n| edge.push(leaf(n)));
        let all: HashMap<_, _> = edge.take_tiles().into_iter().collect();
        let mut reader = Reader::default();
        assert!(reader.inclusion(300, 600).is_err());
        for id in reader.wanted() {
            reader.tiles.insert(id, all[&id].clone());
        }
        check_record(&reader.inclusion(300, 600).unwrap(), 600, edge.root(), 300, leaf(300)).unwrap();
        assert!(reader.tiles.len() < all.len());
    }
}
