//! `#[derive(Message)]`, which [`tombolo`] re-exports: use it from there.
//!
//! [`tombolo`]: https://docs.rs/tombolo

mod enumeration;
mod fields;
mod layout;
mod structure;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

/// Makes a struct, or an enum without fields, a message.
///
/// It implements `tombolo::Message`, with a schema of the type's name and its
/// fields, and what `tombolo::bytemuck` asks of a type that is sent and received.
///
/// ```ignore
/// use tombolo::Message;
///
/// #[derive(Clone, Copy, Message)]
/// #[repr(C)]
/// struct Tick {
///     id: u64,
///     price: f64,
///     side: Side,
///     venue: [u8; 7],
/// }
///
/// #[derive(Clone, Copy, Message)]
/// #[repr(u8)]
/// enum Side {
///     Buy = 1,
///     Sell = 2,
/// }
/// ```
///
/// The compiler refuses
///
/// - a struct without `#[repr(C)]` (or `transparent`), or with padding; the message
///   says behind which field it is;
/// - an enum without the integer that it is, such as `#[repr(u8)]`, or with fields;
/// - a field whose type is no message;
/// - generic parameters.
///
/// A struct whose fields are all numbers, or arrays of numbers, is `bytemuck::Pod`: any
/// bytes are a value of it. So a message in place (`Sender::reserve`, `Receiver::take`) can
/// be read without a check (`Delivery::read`), and by reference. Of other messages,
/// `Delivery::get` checks a copy. For a struct with fields of other types that can have
/// any bits, `#[message(in_place)]` says so.
#[proc_macro_derive(Message, attributes(message))]
pub fn message(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    derive(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn derive(input: &DeriveInput) -> Result<TokenStream> {
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a message cannot have generic parameters: its schema and its layout are checked for \
             one type; write a struct for each type that is sent",
        ));
    }
    let implemented = match &input.data {
        Data::Struct(data) => structure::derive(input, data)?,
        Data::Enum(data) => enumeration::derive(input, data)?,
        Data::Union(union) => {
            return Err(Error::new_spanned(
                union.union_token,
                "a union cannot be a message: nobody knows which of its fields was sent; use a \
                 struct",
            ));
        }
    };
    // Its names are nobody else's.
    Ok(quote! {
        const _: () = {
            use ::tombolo::__derive as private;
            #implemented
        };
    })
}

#[cfg(test)]
mod tests {
    use super::derive;

    fn made(text: &str) -> Result<String, String> {
        let input = syn::parse_str(text).unwrap();
        derive(&input).map(|made| made.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_a_message_is_refused_with_what_to_do() {
        for (text, said) in [
            ("struct Tick { id: u64 }", "write #[repr(C)] above it"),
            ("#[repr(align(8))] struct Tick { id: u64 }", "write #[repr(C)] above it"),
            ("#[repr(C, packed)] struct Tick { id: u64 }", "instead of `packed`"),
            ("#[repr(packed(2))] struct Tick { id: u64 }", "instead of `packed`"),
            ("#[repr(C)] struct Tick<T> { id: T }", "a struct for each type"),
            ("#[repr(C)] struct Tick<'a> { id: &'a u8 }", "cannot have generic parameters"),
            ("#[repr(C)] struct Tick;", "give it a field"),
            ("#[repr(C)] struct Tick {}", "give it a field"),
            ("#[repr(C)] union Tick { id: u64 }", "use a struct"),
            ("#[repr(C)] struct Tick { id: &'static str }", "[u8; 32]"),
            ("#[repr(C)] struct Tick { id: [std::string::String; 2] }", "[u8; 32]"),
            ("#[repr(C)] struct Tick { id: usize }", "use u64"),
            ("#[repr(C)] struct Tick { id: Option<u8> }", "stand for none"),
            ("#[repr(C)] struct Tick { id: (u8, u8) }", "use a struct"),
            ("#[repr(C)] #[message(fast)] struct Tick { id: u64 }", "`in_place`"),
            ("enum Side { Buy }", "#[repr(u8)]"),
            ("#[repr(C)] enum Side { Buy }", "#[repr(u8)]"),
            ("#[repr(usize)] enum Side { Buy }", "#[repr(u8)]"),
            ("#[repr(u8)] enum Side {}", "give it a variant"),
            ("#[repr(u8)] enum Side { Buy(u8) }", "cannot have fields"),
            ("#[repr(u8)] #[message(in_place)] enum Side { Buy }", "not any bits"),
        ] {
            let error = made(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_raw_name_is_the_name_without_its_mark() {
        let made_of = |text: &str| made(text).unwrap();
        let name = made_of("#[repr(C)] struct A { r#type: u64 }");
        assert!(name.contains("\"type\"") && !name.contains("\"r#type\""), "{name}");
        let value = made_of("#[repr(u8)] enum r#A { r#Self_, r#Buy }");
        assert!(value.contains("\"Buy\"") && value.contains("\"A:u8{\""), "{value}");
    }

    #[test]
    fn only_numbers_are_plain_data_unless_it_is_said() {
        for (text, plain) in [
            ("#[repr(C)] struct A { a: u64, b: [[f32; 2]; 3] }", true),
            ("#[repr(C)] struct A(u8, i128);", true),
            ("#[repr(transparent)] struct A(u64);", true),
            ("#[repr(C)] struct A { a: bool }", false),
            ("#[repr(C)] struct A { a: [char; 2] }", false),
            ("#[repr(C)] struct A { a: Other }", false),
            ("#[repr(C)] #[message(in_place)] struct A { a: Other }", true),
            ("#[repr(u8)] enum A { B }", false),
        ] {
            let made = made(text).unwrap();
            assert_eq!(made.contains("Pod for A"), plain, "{text}: {made}");
            assert_eq!(made.contains("CheckedBitPattern for A"), !plain, "{text}: {made}");
        }
    }
}
