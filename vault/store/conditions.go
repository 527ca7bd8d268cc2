package store

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// conditions is a WHERE clause: all terms must hold.
type conditions struct {
	terms []string
	args  []any // of the terms' $n
}

// add adds a comparison of an expression, such as "at >=", with arg.
func (c *conditions) add(left string, arg any) {
	c.args = append(c.args, arg)
	c.terms = append(c.terms, left+" $"+strconv.Itoa(len(c.args)))
}

// match adds comparisons for pairs of a column and the value that it must have; with "" it may have any.
func (c *conditions) match(pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			c.add(pairs[i]+" =", pairs[i+1])
		}
	}
}

// after selects the rows after a cursor, in the order of created_at and id, whose columns have a prefix such as "k.".
func (c *conditions) after(prefix, cursor string) error {
	if cursor == "" {
		return nil
	}
	created, id, err := parseCursor(cursor)
	if err != nil {
		return err
	}
	c.args = append(c.args, created, id)
	// A comparison of rows, since databases find its start in an index.
	c.terms = append(c.terms, fmt.Sprintf("(%[1]screated_at, %[1]sid) > ($%[2]d, $%[3]d)", prefix, len(c.args)-1, len(c.args)))
	return nil
}

func (c *conditions) String() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

// Page selects a part of a list.
type Page struct {
	Limit  int    `query:"limit"`  // 1 to 1000; 0: as many as fit in a page
	Cursor string `query:"cursor"` // from the page before; "": from the start
}

// pageRows and pageBytes are the longest page that is read in one transaction; a page has at least one row. A longer list
// takes several, so that neither memory nor a transaction grows with it.
const (
	pageRows  = 500
	pageBytes = 256 << 10
)

// rows checks the limit and returns how many rows to read at most.
func (p Page) rows() (int, error) {
	if p.Limit < 0 || p.Limit > 1000 {
		return 0, invalid("limit must be 1 to 1000")
	}
	return min(cmp.Or(p.Limit, pageRows), pageRows), nil
}

// list returns the first rows of a query, and the cursor of the last one if there may be more. size is about the length of
// a row beside its short columns.
func list[T any](t *txn, p Page, fields func(*T) []any, size func(*T) int, cursor func(*T) string, query string, args ...any) (rows []T, next string, err error) {
	most, err := p.rows()
	if err != nil {
		return nil, "", err
	}
	bytes := 0
	full := func(row *T) bool {
		bytes += size(row)
		return bytes >= pageBytes
	}
	rows, more, err := collectUntil(t, fields, full, query+` LIMIT `+strconv.Itoa(most+1), args...)
	if err != nil {
		return nil, "", err
	}
	if len(rows) > most {
		rows, more = rows[:most], true
	}
	if more {
		next = cursor(&rows[len(rows)-1])
	}
	return rows, next, nil
}

var errCursor = invalid("cursor is not one that this list gave")

func invalid(message string) *api.Error { return api.NewError(api.ErrInvalid, message) }

func notFound(what string) *api.Error { return api.NewError(api.ErrNotFound, "no such "+what) }

// newID returns an id: a prefix for its kind, and 130 random bits.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// hashOf is the form in which keys, states and long identifiers are stored.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// newCursor identifies the last row of a page, for conditions.after. It is opaque to clients.
func newCursor(created time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(created.UnixMicro(), 36) + " " + id))
}

func parseCursor(c string) (created int64, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return 0, "", errCursor
	}
	number, id, ok := strings.Cut(string(text), " ")
	created, err = strconv.ParseInt(number, 36, 64)
	if err != nil || !ok {
		return 0, "", errCursor
	}
	return created, id, nil
}
