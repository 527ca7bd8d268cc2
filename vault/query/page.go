package query

import (
	"cmp"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// Page selects a part of a list.
type Page struct {
	Limit  int    `query:"limit"`  // 1 to 1000; 0: as many as fit in a page
	Cursor string `query:"cursor"` // from the page before; "": from the start
}

// Limits of the longest page that is read in one transaction; a page has at least one row. A longer list takes several, so that neither
// memory nor a transaction grows with it.
const (
	PageRows  = 500
	PageBytes = 256 << 10
)

// Rows checks the limit and returns how many rows to read at most. Errors: api.ErrInvalid.
func (p Page) Rows() (int, error) {
	if p.Limit < 0 || p.Limit > 1000 {
		return 0, api.NewError(api.ErrInvalid, "limit must be 1 to 1000")
	}
	return min(cmp.Or(p.Limit, PageRows), PageRows), nil
}

// ErrCursor is the error of a cursor that no list gave.
var ErrCursor = api.NewError(api.ErrInvalid, "cursor is not one that this list gave")

// NewCursor identifies the last row of a page, for Conditions.After. It is opaque to clients.
func NewCursor(created time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(created.UnixMicro(), 36) + " " + id))
}

// parseCursor returns the time of a cursor, in microseconds, and the id. Errors: ErrCursor.
func parseCursor(cursor string) (created int64, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, "", ErrCursor
	}
	number, id, ok := strings.Cut(string(text), " ")
	created, err = strconv.ParseInt(number, 36, 64)
	if err != nil || !ok {
		return 0, "", ErrCursor
	}
	return created, id, nil
}
