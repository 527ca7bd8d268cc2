// Package migrations has the schema, as numbered files of SQL. A database runs the ones it doesn't have yet, each with the
// words of its own dialect instead of BLOB, WITHOUT ROWID and INTEGER PRIMARY KEY AUTOINCREMENT.
package migrations

import "embed"

// Files has the migrations, whose names start with their numbers.
//
//go:embed *.sql
var Files embed.FS
