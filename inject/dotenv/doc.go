// Package dotenv reads .env files: those of run --env-file, import and dev --seed. Nothing in them is expanded.
// Differences lists where other programs read a line differently.
//
// The grammar, in the notation of the Go specification:
//
//	File       = [ BOM ] Line { LineEnd Line } .
//	LineEnd    = LF | CR LF .
//	Line       = Blanks [ Comment | Assignment ] .
//	Assignment = [ "export" Blank Blanks ] Name Blanks "=" Blanks [ Quoted | Bare ] Blanks [ Comment ] .
//	Name       = ( letter | digit | "_" ) { letter | digit | "_" | "." | "-" } .        ASCII only
//	Quoted     = "'" { any but "'" } "'" | '"' { any but '"' and "\" | "\" any } '"' .  on one or more lines
//	Bare       = any but a quote, "`" and a Blank, then up to what follows it .
//	Comment    = "#" up to the end of the line .                                        behind a value: after a Blank
//	Blank      = space | tab .
//	Blanks     = { Blank } .
//
// A bare value and one in single quotes are taken literally. In double quotes \n, \r and \t are a line
// feed, a carriage return and a tab; a backslash before \, ", $ or ` is dropped, and kept before anything
// else. CR LF counts as LF, in quotes too. The last assignment to a name counts.
//
// A file whose first character other than white space is { is a JSON object (object.go).
package dotenv
