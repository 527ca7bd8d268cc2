package rule

import (
	"net/http"
	"strings"
)

// overrides are headers from which some servers take the method or path in place of those that rules check. Many servers
// don't distinguish - and _ in names.
var overrides = map[string]bool{
	"x-http-method-override": true, "x-http-method": true, "x-method-override": true, "x-original-url": true, "x-rewrite-url": true,
}

// Override returns the name of a header that may replace the method or the path of a request; "" if there is none.
func Override(h http.Header) string {
	for name := range h {
		if len(name) > len("X-") && name[0]|0x20 == 'x' && overrides[strings.ReplaceAll(strings.ToLower(name), "_", "-")] {
			return name
		}
	}
	return ""
}

// OverridesMethod reports whether a query has a parameter _method, from which some frameworks take the method of a POST request. PHP
// also reads other spellings of that name.
func OverridesMethod(query string) bool {
	for query != "" {
		end := strings.IndexAny(query, "&;")
		pair := query
		if query = ""; end >= 0 {
			pair, query = pair[:end], pair[end+1:]
		}
		name, _, _ := strings.Cut(pair, "=")
		name = strings.TrimLeft(unescape(strings.ReplaceAll(name, "+", " ")), " ")
		if end := strings.IndexAny(name, "\x00["); end >= 0 {
			name = name[:end]
		}
		if strings.EqualFold(methodName.Replace(name), "_method") {
			return true
		}
	}
	return false
}

// methodName makes of a name what PHP makes of it.
var methodName = strings.NewReplacer(".", "_", " ", "_")
