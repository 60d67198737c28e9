//! Settings of the GraphQL gateway.

use std::path::PathBuf;

/// What one operation may ask for, and what is offered. An operation beyond a bound is refused before it reads
/// anything.
#[derive(Debug, Clone, confique::Config)]
pub struct GraphqlConfig {
    /// Fields inside fields; `edges` and `node` count as well.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_DEPTH", default = 20)]
    pub max_depth: usize,

    /// Selections of a document in all; a fragment counts as often as it is spread.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_SELECTIONS", default = 3000)]
    pub max_selections: usize,

    /// Fields of `Query` or `Mutation` in one operation, whatever their aliases.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_ROOTS", default = 20)]
    pub max_roots: usize,

    /// Directives of a document in all.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_DIRECTIVES", default = 200)]
    pub max_directives: usize,

    /// Names, values and signs of a document.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_TOKENS", default = 20000)]
    pub max_tokens: usize,

    /// Largest document, in bytes.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_DOCUMENT_BYTES", default = 131_072)]
    pub max_document_bytes: usize,

    /// Largest variables, in bytes of JSON.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_VARIABLES_BYTES", default = 16_777_216)]
    pub max_variables_bytes: usize,

    /// Largest `first` or `last` of a connection; larger ones are refused.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_PAGE", default = 1000)]
    pub max_page: i64,

    /// Records that an operation may read, as its plan estimates: page sizes multiplied along the way.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_RECORDS", default = 200_000)]
    pub max_records: u64,

    /// Records that a client may ask for in a minute, as the plans estimate, in each instance of the hub. An
    /// operation that asks for more takes a full budget. 0: no such limit.
    #[config(env = "ROSTERHUB_GRAPHQL_RECORDS_PER_MINUTE", default = 10_000_000)]
    pub records_per_minute: u32,

    /// Seconds that a query may take.
    #[config(env = "ROSTERHUB_GRAPHQL_MAX_SECONDS", default = 30)]
    pub max_seconds: u64,

    /// Whether `__schema` and `__type` are answered.
    #[config(env = "ROSTERHUB_GRAPHQL_INTROSPECTION", default = true)]
    pub introspection: bool,

    /// Whether GET /graphql shows a browser the explorer.
    #[config(env = "ROSTERHUB_GRAPHQL_EXPLORER", default = true)]
    pub explorer: bool,

    /// Memory for documents that clients register by their hash (automatic persisted queries), in bytes. 0: none are
    /// registered.
    #[config(env = "ROSTERHUB_GRAPHQL_PERSISTED_BYTES", default = 16_777_216)]
    pub persisted_bytes: u64,

    /// The only documents that are answered: a JSON file of them by their ids, or a folder of `.graphql` files.
    /// Default: all are.
    #[config(env = "ROSTERHUB_GRAPHQL_OPERATIONS")]
    pub operations: Option<PathBuf>,
}
