//! The fields of a struct, and the checks of each.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::{Error, Member, Result, Type};

/// Types that can have any bits.
const NUMBERS: [&str; 12] =
    ["u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f32", "f64"];

const POINTS: &str = "it points to memory that the other process does not have: use an array of a \
                      fixed length, such as [u8; 32], or serialize into a channel of bytes, \
                      `Segment::bytes`";

/// A field.
pub(crate) struct Field<'a> {
    pub(crate) member: Member,
    pub(crate) kind: &'a Type,
}

impl<'a> Field<'a> {
    pub(crate) fn all(fields: &'a syn::Fields) -> Result<Vec<Self>> {
        let members = fields.members();
        let kinds = fields.iter().map(|field| &field.ty);
        let all: Vec<_> = members.zip(kinds).map(|(member, kind)| Self { member, kind }).collect();
        match all.iter().find_map(Self::hopeless) {
            Some(error) => Err(error),
            None => Ok(all),
        }
    }

    /// Why its type can never be in a message, where that is known without the
    /// compiler, which says it at greater length.
    fn hopeless(&self) -> Option<Error> {
        let kind = element(self.kind);
        let why = match kind {
            Type::Reference(_) | Type::Ptr(_) | Type::FnPtr(_) => POINTS,
            Type::Tuple(_) => "the layout of a tuple is not fixed: use a struct",
            Type::Path(path) => match path.path.segments.last()?.ident.to_string().as_str() {
                "String" | "Vec" | "Box" | "Rc" | "Arc" | "HashMap" | "BTreeMap" | "VecDeque"
                | "PathBuf" | "OsString" | "CString" => POINTS,
                "usize" => "its size is not the same for every program: use u64",
                "isize" => "its size is not the same for every program: use i64",
                "Option" => "its layout is not fixed: let one value stand for none",
                _ => return None,
            },
            _ => return None,
        };
        Some(Error::new_spanned(kind, format!("this cannot be in a message: {why}")))
    }

    /// Its name in a schema.
    pub(crate) fn name(&self) -> String {
        match &self.member {
            Member::Named(name) => name.unraw().to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        }
    }

    /// Whether it is a number, or an array of numbers.
    pub(crate) fn is_numbers(&self) -> bool {
        match element(self.kind) {
            Type::Path(path) => path
                .path
                .get_ident()
                .is_some_and(|name| NUMBERS.contains(&name.to_string().as_str())),
            _ => false,
        }
    }

    /// The type that its bits have before they are checked.
    pub(crate) fn bits(&self) -> TokenStream {
        bits(self.kind)
    }

    /// Whether its bits, of this expression, are a value.
    pub(crate) fn is_valid(&self, bits: TokenStream) -> TokenStream {
        if self.is_numbers() { quote!(true) } else { is_valid(self.kind, bits) }
    }
}

/// The type of the elements of an array, however deep; else the type itself.
pub(crate) fn element(kind: &Type) -> &Type {
    match kind {
        Type::Array(array) => element(&array.elem),
        Type::Paren(inner) => element(&inner.elem),
        Type::Group(inner) => element(&inner.elem),
        kind => kind,
    }
}

fn bits(kind: &Type) -> TokenStream {
    match kind {
        Type::Array(array) => {
            let (of, length) = (bits(&array.elem), &array.len);
            quote!([#of; #length])
        }
        Type::Paren(inner) => bits(&inner.elem),
        Type::Group(inner) => bits(&inner.elem),
        kind => quote!(<#kind as private::bytemuck::CheckedBitPattern>::Bits),
    }
}

fn is_valid(kind: &Type, of: TokenStream) -> TokenStream {
    match kind {
        Type::Array(array) => {
            let each = is_valid(
                &array.elem,
                syn::Ident::new("each", Span::call_site()).into_token_stream(),
            );
            quote!((#of).iter().all(|each| #each))
        }
        Type::Paren(inner) => is_valid(&inner.elem, of),
        Type::Group(inner) => is_valid(&inner.elem, of),
        kind => quote!(<#kind as private::bytemuck::CheckedBitPattern>::is_valid_bit_pattern(#of)),
    }
}
