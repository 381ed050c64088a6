//! The rows of MCP servers and of their access endpoints.

use super::*;

/// What an access endpoint tells of the server's versions.
macro_rules! mcp_passengers {
    ($($at:literal),*) => {
        [
            denied(R::McpServerVersion, &[$($at,)* "resolved_version"]),
            denied(R::McpServerVersion, &[$($at,)* "tools"]),
            denied(R::McpServerVersion, &[$($at,)* "server_version"]),
            denied(R::McpServerVersion, &[$($at,)* "server_alias"]),
        ]
    };
}

const MCP_PAGES: Paging = Paging::Refill { default_size: Some(100) };

/// Search: every row says what its reader may do with it.
pub const MCP_SERVERS: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[
            drop_unless(
                &["mcp_servers", "[]"],
                &[RowTest::MayItself {
                    resource: R::McpServer,
                    action: Action::Read,
                    id: RowId::Field(&["name"]),
                }],
            ),
            Rows {
                at: &["mcp_servers", "[]"],
                keep: &[],
                otherwise: Otherwise::Stamp { resource: R::McpServer, id: RowId::Field(&["name"]) },
            },
        ],
        redactions: &mcp_passengers!["mcp_servers", "[]", "access_endpoints", "[]"],
        paging: MCP_PAGES,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Get, update.
pub const MCP_SERVER: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[Rows {
            at: &[],
            keep: &[],
            otherwise: Otherwise::Stamp { resource: R::McpServer, id: RowId::Field(&["name"]) },
        }],
        redactions: &mcp_passengers!["access_endpoints", "[]"],
        paging: Paging::AsTheyCome,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Endpoints of all servers.
pub const MCP_ALL_ENDPOINTS: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[drop_unless(
            &["mcp_access_endpoints", "[]"],
            &[may_read(R::McpServer, &["server_name"])],
        )],
        redactions: &mcp_passengers!["mcp_access_endpoints", "[]"],
        paging: MCP_PAGES,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Endpoints of the one server that the path names.
pub const MCP_ENDPOINTS: ResponseWork =
    ResponseWork::Redact(&mcp_passengers!["mcp_access_endpoints", "[]"]);

/// One endpoint: create, get, update.
pub const MCP_ENDPOINT: ResponseWork = ResponseWork::Redact(&mcp_passengers![]);
