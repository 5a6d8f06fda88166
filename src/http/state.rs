//! The state of a feature.

/// Defines the state of a feature, with its parts behind one `Arc`, so that a request clones one reference. A handler
/// extracts the part that it needs, such as `State<Database>`, or the whole state.
macro_rules! feature_state {
    ($(#[$doc:meta])* $name:ident { $($part:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub(crate) struct $name(std::sync::Arc<Parts>);

        pub(crate) struct Parts {
            $($part: $type,)*
        }

        impl std::ops::Deref for $name {
            type Target = Parts;

            fn deref(&self) -> &Parts {
                &self.0
            }
        }

        $(impl axum::extract::FromRef<$name> for $type {
            fn from_ref(state: &$name) -> Self {
                state.$part.clone()
            }
        })*
    };
}

pub(crate) use feature_state;
