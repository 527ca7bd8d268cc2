package fetch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// unwrap removes up to two envelopes, as in {"data": {"bindings": [...]}}: it returns the first of names that contains an
// object or a list. It returns a bare object or list unchanged.
func unwrap(body []byte, names ...string) []byte {
	for range 2 {
		body = bytes.TrimSpace(body)
		var fields map[string]json.RawMessage
		if len(body) == 0 || body[0] != '{' || json.Unmarshal(body, &fields) != nil {
			return body
		}
		inner := body
		for _, name := range names {
			if v := bytes.TrimSpace(fields[name]); len(v) > 0 && (v[0] == '{' || v[0] == '[') {
				inner = v
				break
			}
		}
		if len(inner) == len(body) {
			return body
		}
		body = inner
	}
	return body
}

// one decodes a single object with an id, bare or in "data" or noun.
func one[T any](noun string) func([]byte) (T, error) {
	return func(body []byte) (T, error) {
		var got, none T
		var about struct {
			ID json.RawMessage `json:"id"` // a string, of events also a number
		}
		inner := unwrap(body, "data", noun)
		err := errors.Join(json.Unmarshal(inner, &got), json.Unmarshal(inner, &about))
		if id := string(about.ID); err != nil || id == "" || id == `""` || id == "null" {
			return none, notDecoded(body, err)
		}
		return got, nil
	}
}

// list decodes a list, bare or in "data", one of nouns or "items". A null list is empty.
func list[T any](nouns ...string) func([]byte) ([]T, error) {
	names := append(append([]string{"data"}, nouns...), "items")
	return func(body []byte) ([]T, error) {
		inner := unwrap(body, names...)
		if len(inner) > 0 && inner[0] == '{' {
			var fields map[string]json.RawMessage
			if json.Unmarshal(inner, &fields) == nil && slices.ContainsFunc(names, func(n string) bool { return string(fields[n]) == "null" }) {
				return nil, nil
			}
			return nil, notContract(body)
		}
		var got []T
		if err := json.Unmarshal(inner, &got); err != nil {
			return nil, notDecoded(body, err)
		}
		return got, nil
	}
}

// getPage makes a call for a part of a list, and returns the items and the cursor of the next part, "" at the end.
func getPage[T any](ctx context.Context, c *Client, k call, nouns ...string) (items []T, next string, err error) {
	items, err = do(ctx, c, k, func(body []byte) (items []T, err error) {
		if items, err = list[T](nouns...)(body); err == nil {
			next, err = nextCursor(body)
		}
		return items, err
	})
	return items, next, err
}

// nextCursor decodes next_cursor beside a list, or in "meta" or "pagination" beside it. It returns an error if there are
// more items (has_more) but no cursor, since the list would look complete.
func nextCursor(body []byte) (next string, err error) {
	more, data := false, unwrap(body, "data")
	for _, text := range [][]byte{body, data, unwrap(body, "meta", "pagination"), unwrap(data, "meta", "pagination")} {
		var beside struct {
			Next string `json:"next_cursor"`
			More bool   `json:"has_more"`
		}
		if text = bytes.TrimSpace(text); text[0] == '{' && json.Unmarshal(text, &beside) != nil {
			return "", notContract(body)
		}
		next, more = cmp.Or(next, beside.Next), more || beside.More
	}
	if more && next == "" {
		return "", unusable("its list goes on (has_more) without a next_cursor")
	}
	return next, nil
}

// maxPages limits the parts of a list: a million items in parts of a hundred.
const maxPages = 10_000

// everything returns all items of a list. part returns the items at a cursor and the next cursor: "" is the start, and the
// end.
func everything[T any](part func(cursor string) ([]T, string, error)) ([]T, error) {
	all, seen := []T{}, map[string]bool{} // an empty list is [] in JSON
	for cursor := ""; ; {
		items, next, err := part(cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		switch {
		case next == "":
			return all, nil
		case seen[next]:
			return nil, unusable("its list gives the same next_cursor twice")
		case len(seen) == maxPages:
			return nil, unusable("its list has no end")
		}
		seen[next] = true
		cursor = next
	}
}

// nothing ignores the body of a response.
func nothing([]byte) (struct{}, error) { return struct{}{}, nil }

// notContract returns the Problem of a response that cannot be decoded. The decoder's error isn't repeated: it quotes the
// body.
func notContract(body []byte) *Problem {
	p := &Problem{Reason: reasonBadAnswer, Message: "the vault's answer isn't in the contract's form", Fix: "check that MIOSA_BASE_URL is a vault's, and of a version this program knows"}
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		p.Message = "the vault's answer is empty"
	case !json.Valid(body):
		p.Message = "the vault's answer is broken JSON"
		p.Fix = "a proxy may have changed it or cut it short"
	}
	return p
}

// notDecoded is notContract with the name of a field that has the wrong type. The name is from our struct, not the body.
func notDecoded(body []byte, err error) *Problem {
	p := notContract(body)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		p.Message += ": " + wrong.Field[1+strings.LastIndexByte(wrong.Field, '.'):] + " is of another type"
	}
	return p
}
