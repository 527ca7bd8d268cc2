// Package inject is where values leave us: it makes a command's environment of what it inherits, env
// files and bound values, refuses names that run code, turns into the command or supervises it, masks
// its output, and writes values as text for other readers.
//
//   - environment.go, guard.go, limits.go, lookup.go: what a command gets, and what is refused.
//   - replace_linux.go, supervise_linux.go: the two ways to run it. supervise_linux.go is one loop, and
//     forward, hook, streams, relay, pty and terminal are its parts.
//   - mask.go: values and their encoded forms taken out of a stream.
//   - encode.go: text forms.
//   - output_linux.go: text forms and directories of files that are kept equal to a snapshot;
//     place_linux.go is where they may be.
//
// The promises about processes and terminals are in docs/architecture.md, the guarded names in
// docs/security.md.
package inject
