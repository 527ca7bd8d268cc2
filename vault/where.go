package vault

import (
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// where collects conditions, all of which must hold, and the arguments of their $n.
type where struct {
	conditions []string
	args       []any
}

func (w *where) compare(left string, arg any) {
	w.args = append(w.args, arg)
	w.conditions = append(w.conditions, left+" $"+strconv.Itoa(len(w.args)))
}

func (w *where) equal(column, value string) { w.compare(column+" =", value) }

func (w *where) equalIfSet(column, value string) {
	if value != "" {
		w.equal(column, value)
	}
}

// after continues behind a row of a list ordered by created_at and id.
func (w *where) after(prefix string, created int64, id string) {
	n := len(w.args)
	w.args = append(w.args, created, created, id)
	w.conditions = append(w.conditions, "("+prefix+"created_at > $"+strconv.Itoa(n+1)+" OR "+
		prefix+"created_at = $"+strconv.Itoa(n+2)+" AND "+prefix+"id > $"+strconv.Itoa(n+3)+")")
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

const (
	defaultPage = 100
	largestPage = 1000
)

// pageSize checks a limit; zero means otherwise.
func pageSize(limit, otherwise int) (int, error) {
	switch {
	case limit == 0:
		return otherwise, nil
	case limit < 0 || limit > largestPage:
		return 0, invalid("limit must be 1 to 1000")
	}
	return limit, nil
}

var errCursor = invalid("cursor is not one that this list gave")

func internal(message string) error { return api.NewError(api.ErrInternal, message) }

func invalid(message string) *api.Error { return api.NewError(api.ErrInvalid, message) }

// newID makes an id: 130 random bits behind a prefix that says what it is of.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }
