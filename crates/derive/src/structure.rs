//! A struct as a message.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned;
use syn::{DataStruct, DeriveInput, Result};

use crate::fields::{Field, element};
use crate::layout::{in_place, refuse, reprs};

pub(crate) fn derive(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let name = &input.ident;
    let reprs = reprs(input)?;
    if let Some(packed) = reprs.iter().find(|repr| *repr == "packed") {
        return Err(syn::Error::new_spanned(
            packed,
            "fields of a message are aligned: instead of `packed`, order them, the largest \
             alignment first, so that there is no padding",
        ));
    }
    if !reprs.iter().any(|repr| repr == "C" || repr == "transparent") {
        return refuse(
            input,
            format!("the layout of `{name}` is not fixed: write #[repr(C)] above it"),
        );
    }
    let fields = Field::all(&data.fields)?;
    if fields.is_empty() {
        return refuse(input, format!("`{name}` would be a message of no bytes: give it a field"));
    }
    let schema = schema(input, &fields);
    let padding = padding(input, &fields);
    let bits = if in_place(input)? || fields.iter().all(Field::is_numbers) {
        plain(input, &fields)
    } else {
        checked(input, data, &fields)
    };
    Ok(quote!(#schema #padding #bits))
}

fn schema(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let name = &input.ident;
    let begin = format!("{}{{", name.unraw());
    let entries = fields.iter().map(|field| {
        let (name, kind) = (field.name(), field.kind);
        // An error about the type is shown at the type.
        quote_spanned!(kind.span()=> .field::<#kind>(#name))
    });
    quote! {
        impl ::tombolo::Message for #name {
            const SCHEMA: &'static str = {
                const TEXT: &private::Schema = &private::Schema::new(#begin) #(#entries)* .end();
                TEXT.as_str()
            };
        }
    }
}

/// Has the compiler look for bytes that are no field's.
fn padding(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let name = &input.ident;
    let text = name.to_string();
    let places = fields.iter().map(|field| {
        let (text, member, kind) = (field.name(), &field.member, field.kind);
        quote! {
            private::Field {
                name: #text,
                at: ::core::mem::offset_of!(#name, #member),
                size: ::core::mem::size_of::<#kind>(),
            }
        }
    });
    quote! {
        const _: () = private::no_padding(#text, ::core::mem::size_of::<#name>(), &[#(#places),*]);
    }
}

/// All bits are values.
fn plain(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let name = &input.ident;
    let kinds = fields.iter().map(|field| {
        let kind = field.kind;
        quote_spanned!(kind.span()=> private::any_bits::<#kind>();)
    });
    quote! {
        const _: () = { #(#kinds)* };
        // SAFETY: its fields are; `no_padding` has seen that there is nothing else.
        unsafe impl private::bytemuck::Zeroable for #name {}
        // SAFETY: as above, and its layout is C's.
        unsafe impl private::bytemuck::Pod for #name {}
    }
}

/// Some bits are none: each field is asked.
fn checked(input: &DeriveInput, data: &DataStruct, fields: &[Field<'_>]) -> TokenStream {
    let name = &input.ident;
    let reprs = input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr"));
    let kinds = fields.iter().map(|field| {
        let kind = element(field.kind);
        quote_spanned!(kind.span()=> private::checked::<#kind>();)
    });
    let bits = fields.iter().map(Field::bits);
    let declared = match &data.fields {
        syn::Fields::Named(_) => {
            let members = fields.iter().map(|field| &field.member);
            quote!({ #(#members: #bits),* })
        }
        _ => quote!((#(#bits),*);),
    };
    let valid = fields.iter().map(|field| {
        let member = &field.member;
        field.is_valid(quote!(&bits.#member))
    });
    quote! {
        const _: () = { #(#kinds)* };
        // SAFETY: its fields have no uninitialised bytes; `no_padding` has seen
        // that there is nothing else.
        unsafe impl private::bytemuck::NoUninit for #name {}

        #[doc(hidden)]
        #[derive(Clone, Copy)]
        #(#reprs)*
        pub struct Bits #declared
        // SAFETY: its fields are, as each is the `Bits` of something.
        unsafe impl private::bytemuck::Zeroable for Bits {}
        // SAFETY: as above.
        unsafe impl private::bytemuck::AnyBitPattern for Bits {}

        // SAFETY: field by field, with the same representation, `Bits` has the
        // same layout; bits are valid where those of each field are.
        unsafe impl private::bytemuck::CheckedBitPattern for #name {
            type Bits = Bits;

            #[inline]
            fn is_valid_bit_pattern(bits: &Bits) -> bool {
                #(#valid)&&*
            }
        }
    }
}
