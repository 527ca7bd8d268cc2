package store

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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

// after selects the rows after a cursor, in the order of created_at and id.
func (c *conditions) after(cursor string) error {
	created, id, err := parseCursor(cursor)
	if err != nil {
		return err
	}
	n := strconv.Itoa(len(c.args) + 1)
	m := strconv.Itoa(len(c.args) + 2)
	c.args = append(c.args, created, id)
	c.terms = append(c.terms, "(created_at > $"+n+" OR created_at = $"+n+" AND id > $"+m+")")
	return nil
}

func (c *conditions) String() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

// pageSize checks a limit; 0 is 100.
func pageSize(limit int) (int, error) {
	if limit < 0 || limit > 1000 {
		return 0, invalid("limit must be 1 to 1000")
	}
	return cmp.Or(limit, 100), nil
}

// page cuts rows to limit. If it has more, next is the cursor of the last one that remains.
func page[T any](rows []T, limit int, cursor func(*T) string) (cut []T, next string) {
	if len(rows) <= limit {
		return rows, ""
	}
	return rows[:limit], cursor(&rows[limit-1])
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
