package api

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// LooseTime is a time in JSON from any vault: RFC 3339, or without a zone, which is UTC. null, "" and a missing field
// are the zero time.
type LooseTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *LooseTime) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	t.Time = time.Time{}
	if s == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05", s) // with or without a fraction
	}
	if err != nil {
		return ErrMalformed // the parser's error contains s
	}
	t.Time = at
	return nil
}

// pointer is nil for the zero time.
func (t LooseTime) pointer() *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t.Time
}

// or is other if t is the zero time.
func (t LooseTime) or(other LooseTime) time.Time {
	if t.IsZero() {
		return other.Time
	}
	return t.Time
}

// units of ParseAgo.
var units = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}

// ParseAgo parses a duration of an audit query, such as 7d: a positive whole number and one of s, m, h, d and w, at most
// 100 years.
func ParseAgo(s string) (time.Duration, bool) {
	if len(s) < 2 || strings.Trim(s[:len(s)-1], "0123456789") != "" {
		return 0, false
	}
	unit := units[s[len(s)-1]]
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
	const longest = 100 * 365 * 24 * time.Hour
	if err != nil || unit == 0 || n < 1 || n > int64(longest/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
