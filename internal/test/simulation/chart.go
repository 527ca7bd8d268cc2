package simulation

import (
	"fmt"
	"math"
	"strings"
)

// The size of a chart, in pixels.
const (
	chartWidth  = 960
	panelHeight = 220
	marginLeft  = 80
	marginTop   = 44
	panelGap    = 56
)

// draw returns a picture, in SVG, of the requests of each second and the agents that aren't current.
func draw(m *Model, faults []Fault, r *Result) string {
	var b strings.Builder
	height := marginTop + 2*panelHeight + panelGap + 30
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %d" font-family="sans-serif" font-size="12">`+"\n",
		chartWidth, height, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<text x="%d" y="18" font-size="14">%s</text>`+"\n", marginLeft, titleOf(m))
	requests, stale := make([]float64, len(r.Seconds)), make([]float64, len(r.Seconds))
	for i, s := range r.Seconds {
		requests[i], stale[i] = float64(s.Requests), float64(s.Stale)
	}
	last := len(r.Seconds) - 1 // which has not begun
	panel(&b, marginTop, "requests per second", requests[:last], faults, m.Rate(m.Costs.Request), "what the replicas can answer")
	panel(&b, marginTop+panelHeight+panelGap, "agents that are not current", stale[:last], faults, 0, "")
	b.WriteString("</svg>\n")
	return b.String()
}

// titleOf says what a chart shows.
func titleOf(m *Model) string {
	return fmt.Sprintf("%s agents, %d replicas, %d databases", grouped(m.Agents), m.Replicas(), m.Databases())
}

// panel draws values per second, on a logarithmic scale, with a line at most.
func panel(b *strings.Builder, top int, title string, values []float64, faults []Fault, most float64, what string) {
	const least = 100.0
	highest := 10 * least
	for _, v := range append([]float64{most}, values...) {
		for highest < v {
			highest *= 10
		}
	}
	width := float64(chartWidth - marginLeft - 20)
	x := func(second float64) float64 { return marginLeft + width*second/float64(len(values)) }
	y := func(v float64) float64 {
		return float64(top) + panelHeight*(1-math.Log10(max(v, least)/least)/math.Log10(highest/least))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", marginLeft, top-8, title)
	for _, f := range faults {
		from, to := f.Start.Seconds(), max(f.End.Seconds(), f.Start.Seconds()+3)
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#f6d5d5"/>`, x(from), top, x(to)-x(from), panelHeight)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" fill="#a33" font-size="11">%s</text>`+"\n", x(from)+3, top+12, f.Name)
	}
	for v := least; v <= highest; v *= 10 {
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			marginLeft, y(v), chartWidth-20, marginLeft-6, y(v)+4, grouped(int(v)))
	}
	for minute := 0; minute*60 <= len(values); minute += 5 {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%d min</text>`+"\n", x(float64(60*minute)), top+panelHeight+16, minute)
	}
	if most > 0 {
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#2a7" stroke-dasharray="5 3"/><text x="%d" y="%.1f" fill="#2a7" text-anchor="end">%s</text>`+"\n",
			marginLeft, y(most), chartWidth-20, chartWidth-24, y(most)-4, what)
	}
	b.WriteString(`<path fill="none" stroke="#236" d="M`)
	for i, v := range values {
		fmt.Fprintf(b, "%.1f %.1f ", x(float64(i)), y(v))
	}
	b.WriteString("\"/>\n")
}

// grouped writes a number with commas.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
