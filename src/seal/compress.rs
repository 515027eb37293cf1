//! Compression: each value is one frame of a standard format, as its own tools read it, with the content's size where the format has a place for it.

use std::io::{self, Read, Write};

use flate2::GzBuilder;
use flate2::read::GzDecoder;
use lz4_flex::frame::{BlockMode, FrameDecoder, FrameEncoder, FrameInfo};
use zstd::bulk::Compressor as Zstd;

use super::error::OpenError;
use crate::ground::sealing::{Compress, Compression};

/// What the formats' own tools take if nobody says otherwise.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;
/// gzip's name for a file system that nobody knows: else the bytes would depend on the machine.
const UNKNOWN: u8 = 255;

/// The bytes that each format begins with.
const MAGIC: [(&[u8], Compression); 3] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
    (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
    (&[0x1f, 0x8b], Compression::Gzip),
];

/// The format that a value is compressed in, by its first bytes.
pub(super) fn format_of(value: &[u8]) -> Option<Compression> {
    MAGIC.iter().find(|(magic, _)| value.starts_with(magic)).map(|(_, format)| *format)
}

/// Compresses one value after the other.
pub(super) struct Compressor {
    above: usize,
    with: With,
}

/// Zstandard's tables are large, and so they are used again.
enum With {
    Zstd(Zstd<'static>),
    Lz4,
    Gzip,
}

impl Compressor {
    /// A compressor that does what a job asks for.
    ///
    /// # Errors
    /// What Zstandard says; in practice that there is no memory.
    pub(super) fn new(compress: Compress) -> io::Result<Self> {
        let with = match compress.with {
            Compression::Zstd => With::Zstd(Zstd::new(ZSTD_LEVEL)?),
            Compression::Lz4 => With::Lz4,
            Compression::Gzip => With::Gzip,
        };
        Ok(Compressor { above: compress.above, with })
    }

    /// Puts the compressed value into `out`, which is empty, and says whether to use it: not if the value is short, or would not become shorter.
    ///
    /// # Errors
    /// What the compressor says.
    pub(super) fn run(&mut self, value: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        if value.len() <= self.above {
            return Ok(false);
        }
        match &mut self.with {
            With::Zstd(zstd) => {
                out.reserve(zstd::zstd_safe::compress_bound(value.len()));
                zstd.compress_to_buffer(value, out)?;
            }
            With::Lz4 => {
                let info = FrameInfo::new().block_mode(BlockMode::Independent).content_size(Some(value.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, &mut *out);
                encoder.write_all(value)?;
                encoder.finish().map_err(io::Error::other)?;
            }
            With::Gzip => {
                let head = GzBuilder::new().mtime(0).operating_system(UNKNOWN);
                let mut encoder = head.write(&mut *out, flate2::Compression::new(GZIP_LEVEL));
                encoder.write_all(value)?;
                encoder.finish()?;
            }
        }
        Ok(out.len() < value.len())
    }
}

/// The content of a compressed value, if it is no longer than `limit`.
///
/// # Errors
/// Damage, or a content that is longer: no more than the limit is ever held.
pub(super) fn decompress(format: Compression, value: &[u8], limit: usize) -> Result<Vec<u8>, OpenError> {
    let content = match format {
        Compression::Zstd => zstd::stream::read::Decoder::with_buffer(value)
            .map(zstd::stream::read::Decoder::single_frame)
            .and_then(|decoder| read(decoder, limit)),
        Compression::Lz4 => read(FrameDecoder::new(value), limit),
        Compression::Gzip => read(GzDecoder::new(value), limit),
    };
    let content = content.map_err(|error| OpenError::Compressed(error.to_string()))?;
    if content.len() > limit { Err(OpenError::TooLarge) } else { Ok(content) }
}

fn read(from: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    from.take((limit as u64).saturating_add(1)).read_to_end(&mut content)?;
    Ok(content)
}
