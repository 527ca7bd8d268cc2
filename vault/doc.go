// Package vault serves the API over HTTP: routes and handlers, authentication, rate limits, metrics, the callback of
// OAuth flows, and the refresh of OAuth tokens. Package store has the data and its rules.
//
// docs/api.md describes the API, docs/security.md what protects it.
package vault
