//! The state of a feature.

/// Defines the state of a feature: its parts behind one reference, which is all that a request clones. A handler takes the
/// part that it needs (`State<Database>`), or the state as a whole.
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
