//! What can be sent, and how two programs know that they mean the same.

/// A type whose values can be messages.
///
/// Both sides of a channel must have the same schema, size and alignment;
/// opening compares a hash of the three and names both sides if they differ.
/// To send, the type is also [`bytemuck::NoUninit`]; to receive,
/// [`bytemuck::CheckedBitPattern`] (which every [`bytemuck::AnyBitPattern`]
/// is): the peer may be any program.
///
/// The schema is any text that says what the bytes mean, up to 256 bytes.
/// Change it whenever that changes.
///
/// ```
/// use bytemuck::{Pod, Zeroable};
/// use tombolo::Message;
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[repr(C)]
/// struct Tick {
///     id: u64,
///     price: f64,
/// }
///
/// impl Message for Tick {
///     const SCHEMA: &'static str = "Tick{id:u64,price:f64}";
/// }
/// ```
pub trait Message: Copy + 'static {
    /// What the bytes mean.
    const SCHEMA: &'static str;
}

macro_rules! primitives {
    ($($name:ident)*) => {$(
        impl Message for $name {
            const SCHEMA: &'static str = stringify!($name);
        }
    )*};
}

primitives! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 bool char }

/// An array has the schema of its elements; how many there are, its size
/// says.
impl<T: Message, const N: usize> Message for [T; N] {
    const SCHEMA: &'static str = T::SCHEMA;
}
