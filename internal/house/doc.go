// Package house has tests that compare documents with the repository: packages are documented, links work, the README's session
// works.
package house
