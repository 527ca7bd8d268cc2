package vault

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/vault/limit"
)

// A panic is answered with 500. The log has its location and nothing of the request's data.
func TestPanicIsAnsweredWithoutItsValue(t *testing.T) {
	var logged bytes.Buffer
	v := &Vault{log: zerolog.New(&logged)}
	v.limits.set(limit.Values{})
	v.metrics = newMetrics(&v.limits)
	h := v.observe("GET /test", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("s3cret") }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/test", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"code":"INTERNAL"`) {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if text := logged.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "observe_test.go") {
		t.Errorf("logged: %s", text)
	}
}
