//! The types that can be sent, and how two programs know that they mean the same.

/// A type whose values can be messages.
///
/// Numbers, `bool`, `char` and arrays of messages are. A struct, or an enum without
/// fields, becomes one by [`#[derive(Message)]`](derive@crate::Message):
///
/// ```
/// use tombolo::{Message, Segment};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Message)]
/// #[repr(C)]
/// struct Tick {
///     id: u64,
///     price: f64,
///     side: Side,
///     venue: [u8; 7],
/// }
///
/// #[derive(Clone, Copy, Debug, PartialEq, Message)]
/// #[repr(u8)]
/// enum Side {
///     Buy = 1,
///     Sell = 2,
/// }
///
/// assert_eq!(Tick::SCHEMA, "Tick{id:u64,price:f64,side:Side:u8{Buy=1,Sell=2},venue:u8[7]}");
/// let segment = Segment::anonymous()?;
/// let ticks = segment.channel::<Tick>("ticks").capacity(1024);
/// let (sender, receiver) = (ticks.sender()?, ticks.receiver()?);
/// let tick = Tick { id: 1, price: 101.5, side: Side::Buy, venue: *b"XETRA  " };
/// sender.send(tick)?;
/// assert_eq!(receiver.recv()?, tick);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Text, vectors and other types with pointers cannot be messages. Send arrays of a fixed
/// length, or serialize into a channel of [bytes](crate::Segment::bytes).
///
/// Both sides of a channel must have the same schema, size and alignment. Opening
/// compares a hash of the three, and names both sides if they differ. So if you change
/// the struct, a segment that was created with the old one is refused. Remove the segment
/// (`tombolo rm NAME`), or use the old struct.
///
/// # What the derive refuses
///
/// Padding, because it would be sent uninitialised. The error names the field before it:
///
/// ```compile_fail,E0080
/// #[derive(Clone, Copy, tombolo::Message)]
/// #[repr(C)]
/// struct Tick {
///     side: bool,
///     // `Tick` has 7 bytes of padding after `side`: order the fields, the
///     // largest alignment first, or add a field there, as in `_reserved: [u8; 7]`
///     id: u64,
/// }
/// ```
///
/// A layout that is not fixed (without `#[repr(C)]`), generic parameters, fields that
/// are no messages:
///
/// ```compile_fail
/// #[derive(Clone, Copy, tombolo::Message)]
/// struct Tick {
///     id: u64,
/// }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, tombolo::Message)]
/// #[repr(C)]
/// struct Tick<T> {
///     id: T,
/// }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, tombolo::Message)]
/// #[repr(C)]
/// struct Tick {
///     venue: &'static str,
/// }
/// ```
/// ```compile_fail,E0277
/// #[derive(Clone, Copy, tombolo::Message)]
/// #[repr(C)]
/// struct Tick {
///     open: std::time::Duration,
/// }
/// ```
/// ```compile_fail
/// #[derive(Clone, Copy, tombolo::Message)]
/// enum Side {
///     Buy,
/// }
/// ```
///
/// # By hand
///
/// To be sent, a type must also be [`bytemuck::NoUninit`]. To be received, it must be
/// [`bytemuck::CheckedBitPattern`] (every [`bytemuck::AnyBitPattern`] is), because the
/// peer may be any program. The derive implements these. A type that has them from
/// `bytemuck`'s own derives needs only the schema: any text of up to 256 bytes that says
/// what the bytes mean. Change the text whenever the meaning changes.
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a message of a channel",
    label = "this type is no `tombolo::Message`",
    note = "a struct of yours becomes one by `#[derive(Clone, Copy, tombolo::Message)] #[repr(C)]`",
    note = "what has pointers (String, Vec, references) cannot: use arrays such as [u8; 32], or \
            serialize into a channel of bytes, `Segment::bytes`"
)]
pub trait Message: Copy + 'static {
    /// What the bytes mean.
    const SCHEMA: &'static str;

    /// How many of what [`SCHEMA`](Self::SCHEMA) names it is.
    #[doc(hidden)]
    const LENGTH: usize = 1;
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
    const LENGTH: usize = N * T::LENGTH;
}
