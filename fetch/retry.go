package fetch

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
)

// maxRetryAfter is the longest a vault is believed to mean, so that no arithmetic overflows.
const maxRetryAfter = 10 * 365 * 24 * time.Hour

// Pauses between the attempts of one call.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// askedFor returns how long a refusal asks to be left alone, zero if it doesn't say.
func askedFor(err error) time.Duration {
	if refusal, ok := errors.AsType[*api.Error](err); ok {
		return refusal.RetryAfter
	}
	return 0
}

// retryAfter reads the header in either form. A date is measured against the answer's own Date: the
// two clocks may differ by years. Zero: not said, or garbage.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return maxRetryAfter // more digits than fit
		}
		return duration(float64(seconds))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return duration(at.Sub(now).Seconds())
}

// duration is a number of seconds that came from outside, from 0 to maxRetryAfter.
func duration(seconds float64) time.Duration {
	switch {
	case !(seconds > 0): // NaN too
		return 0
	case seconds >= maxRetryAfter.Seconds():
		return maxRetryAfter
	}
	return time.Duration(seconds * float64(time.Second))
}
