// Package query builds the conditions and the pages of SQL queries.
package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Conditions is a WHERE clause: all terms must hold. The zero Conditions select everything.
type Conditions struct {
	Terms []string
	Args  []any // of the terms' $n
}

// Add adds a comparison of an expression, such as "at >=", with arg.
func (c *Conditions) Add(left string, arg any) {
	c.Args = append(c.Args, arg)
	c.Terms = append(c.Terms, left+" $"+strconv.Itoa(len(c.Args)))
}

// Match adds comparisons for pairs of a column and the value that it must have; with "" it may have any.
func (c *Conditions) Match(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			c.Add(pairs[i]+" =", pairs[i+1])
		}
	}
}

// In selects rows whose column has one of the values; without values, all.
func (c *Conditions) In(column string, values []string) {
	if len(values) == 0 {
		return
	}
	parameters := make([]string, len(values))
	for i, v := range values {
		c.Args = append(c.Args, v)
		parameters[i] = "$" + strconv.Itoa(len(c.Args))
	}
	c.Terms = append(c.Terms, column+" IN ("+strings.Join(parameters, ", ")+")")
}

// InResources selects rows of one of the resources, such as "sandbox:sb_1"; without resources, all. The columns resource_type and
// resource_id have a prefix such as "b.".
func (c *Conditions) InResources(prefix string, resources []string) {
	if len(resources) == 0 {
		return
	}
	terms := make([]string, len(resources))
	for i, text := range resources {
		typ, id, _ := strings.Cut(text, ":")
		one := Conditions{Args: c.Args}
		one.Match(prefix+"resource_type", typ, prefix+"resource_id", id)
		c.Args = one.Args
		terms[i] = strings.Join(one.Terms, " AND ")
	}
	c.Terms = append(c.Terms, "("+strings.Join(terms, " OR ")+")")
}

// After selects the rows after a cursor, in the order of created_at and id, whose columns have a prefix such as "k.".
// Errors: api.ErrInvalid.
func (c *Conditions) After(prefix, cursor string) error {
	if cursor == "" {
		return nil
	}
	created, id, err := parseCursor(cursor)
	if err != nil {
		return err
	}
	c.Args = append(c.Args, created, id)
	// A comparison of rows, since databases find its start in an index.
	c.Terms = append(c.Terms, fmt.Sprintf("(%[1]screated_at, %[1]sid) > ($%[2]d, $%[3]d)", prefix, len(c.Args)-1, len(c.Args)))
	return nil
}

// Clone returns a copy.
func (c *Conditions) Clone() Conditions {
	return Conditions{slices.Clone(c.Terms), slices.Clone(c.Args)}
}

// String is the clause, with a space before it; "" without terms.
func (c *Conditions) String() string {
	if len(c.Terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.Terms, " AND ")
}

// Padded repeats the last of some values so that their number is a power of two: the database keeps few statements prepared.
func Padded(values []string) []string {
	n := 1
	for n < len(values) {
		n *= 2
	}
	values = slices.Clone(values)
	for len(values) < n {
		values = append(values, values[len(values)-1])
	}
	return values
}
