package query_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/query"
)

func TestConditions(t *testing.T) {
	for _, tt := range []struct {
		name string
		add  func(*query.Conditions)
		want string
		args []any
	}{
		{"none", func(*query.Conditions) {}, "", nil},
		{"a comparison", func(c *query.Conditions) { c.Add("at >=", 5) }, " WHERE at >= $1", []any{5}},
		{"any value", func(c *query.Conditions) { c.Match("a", "x", "b", "", "c", "y") }, " WHERE a = $1 AND c = $2", []any{"x", "y"}},
		{"a list", func(c *query.Conditions) { c.Add("t =", 1); c.In("a", []string{"x", "y"}) }, " WHERE t = $1 AND a IN ($2, $3)", []any{1, "x", "y"}},
		{"an empty list", func(c *query.Conditions) { c.In("a", nil); c.InResources("b.", nil) }, "", nil},
		{"resources", func(c *query.Conditions) { c.InResources("b.", []string{"sandbox:1", "computer:a:b"}) },
			" WHERE (b.resource_type = $1 AND b.resource_id = $2 OR b.resource_type = $3 AND b.resource_id = $4)", []any{"sandbox", "1", "computer", "a:b"}},
		{"after a row", func(c *query.Conditions) { _ = c.After("k.", query.NewCursor(time.UnixMicro(7), "id 1")) },
			" WHERE (k.created_at, k.id) > ($1, $2)", []any{int64(7), "id 1"}},
		{"from the start", func(c *query.Conditions) { _ = c.After("k.", "") }, "", nil},
	} {
		var c query.Conditions
		tt.add(&c)
		if diff := cmp.Diff(tt.want, c.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.args, c.Args); diff != "" {
			t.Errorf("%s: args (-want +got)\n%s", tt.name, diff)
		}
	}
	var c query.Conditions
	c.Add("a =", 1)
	copied := c.Clone()
	copied.Add("b =", 2)
	c.Add("c =", 3)
	if got := copied.String() + c.String(); got != " WHERE a = $1 AND b = $2 WHERE a = $1 AND c = $2" {
		t.Error(got)
	}
}

func TestAfterRefuses(t *testing.T) {
	for _, cursor := range []string{"!", "eHh4", "YSBi IGM", "_ _"} {
		if err := new(query.Conditions).After("", cursor); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("%q: %v", cursor, err)
		}
	}
}

func TestPadded(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "a b": "a b", "a b c": "a b c c", "a b c d e": "a b c d e e e e"} {
		if got := strings.Join(query.Padded(strings.Fields(in)), " "); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestRows(t *testing.T) {
	for limit, want := range map[int]int{0: query.PageRows, 1: 1, query.PageRows: query.PageRows, 1000: query.PageRows, -1: 0, 1001: 0} {
		if got, err := (query.Page{Limit: limit}).Rows(); got != want || (err != nil) != (want == 0) {
			t.Errorf("limit %d: %d, %v", limit, got, err)
		}
	}
}
