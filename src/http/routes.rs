//! A router builder that records the methods and paths of its routes.

use axum::Router;
use axum::handler::Handler;

/// An operation of the service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// In lower case, as in the API document.
    pub method: &'static str,
    /// With its parameters in braces.
    pub path: String,
}

/// A router and the list of its routes. `S` is the state that is still missing; without it the routes are complete.
pub(crate) struct Routes<S = ()> {
    router: Router<S>,
    routes: Vec<Route>,
}

macro_rules! methods {
    ($($method:ident)*) => {$(
        pub(crate) fn $method<H: Handler<T, S>, T: 'static>(self, path: &str, handler: H) -> Self {
            self.add(stringify!($method), path, axum::routing::$method(handler))
        }
    )*};
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) fn new() -> Self {
        Self {
            router: Router::new(),
            routes: Vec::new(),
        }
    }

    methods! { get post put patch delete }

    fn add(
        mut self,
        method: &'static str,
        path: &str,
        handler: axum::routing::MethodRouter<S>,
    ) -> Self {
        self.router = self.router.route(path, handler);
        self.routes.push(Route {
            method,
            path: path.to_owned(),
        });
        self
    }

    pub(crate) fn merge(mut self, mut other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.routes.append(&mut other.routes);
        self
    }

    /// Applies layers to the routes added so far.
    pub(crate) fn wrap(self, wrap: impl FnOnce(Router<S>) -> Router<S>) -> Self {
        Self {
            router: wrap(self.router),
            ..self
        }
    }

    pub(crate) fn with_state(self, state: S) -> Routes {
        Routes {
            router: self.router.with_state(state),
            routes: self.routes,
        }
    }
}

impl Routes {
    /// Returns the router and the list of its routes.
    pub(crate) fn finish(self) -> (Router, Vec<Route>) {
        (self.router, self.routes)
    }
}
