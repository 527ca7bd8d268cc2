package mask

import (
	"math/bits"
	"slices"
)

// automaton finds every occurrence of many patterns in one pass (Aho and Corasick, 1975). Its nodes are the patterns'
// prefixes; node 0 is the empty one. The state after a text is the longest node that the text ends with.
//
// Values may be long and have many forms, so a node takes little memory: nodes are numbered in preorder, so that a
// node's first child follows it, and more is stored only where a pattern branches off, at most once per pattern. In all
// a node takes 5 bytes and 4.5 bits, and there is at most one for each byte of a pattern.
type automaton struct {
	label []byte   // the byte that leads to the node
	link  []uint32 // the longest proper suffix that isn't a leaf, and the bits below

	first [256]uint32 // the root's children; 0: none

	// A run is a chain of nodes with consecutive numbers and depths.
	starts ranked
	runs   []run

	branched ranked
	branches []branch
	children []uint32

	// For nodes at which a pattern ends: the index of the longest such pattern.
	ends    ranked
	longest []uint32
}

const (
	lastBit   = 1 << 31 // the next node isn't a child
	branchBit = 1 << 30 // there are children besides the next node
	endBit    = 1 << 29 // a pattern ends here
	nodeSet   = 1<<29 - 1
)

type run struct {
	start, depth uint32 // of its first node
	parent       uint32
}

// branch holds the children of a node besides the next one: set contains their labels, and the nodes are in children
// from first, sorted by label.
type branch struct {
	set   [4]uint64
	first uint32
}

// newAutomaton returns an automaton for sorted, distinct, non-empty patterns.
func newAutomaton(patterns []string) *automaton {
	nodes := 1
	shared := make([]int, len(patterns)) // length of the common prefix with the previous pattern
	for i, p := range patterns {
		if i > 0 {
			shared[i] = commonPrefix(patterns[i-1], p)
		}
		nodes += len(p) - shared[i]
	}
	if nodes > nodeSet {
		// Half a gigabyte of forms: 80 times what fits in an environment.
		panic("mask: too many bytes to mask")
	}
	a := &automaton{label: make([]byte, 1, nodes), link: make([]uint32, nodes)}
	last := a.plant(patterns, shared)
	a.branch()
	a.connect(last)
	return a
}

// plant builds the tree and returns the node of each pattern.
func (a *automaton) plant(patterns []string, shared []int) []uint32 {
	last := make([]uint32, len(patterns))
	a.starts = newRanked(len(a.link))
	a.runs = []run{{}}
	a.starts.set(0)
	path := []int{0} // the runs from the root to the previous pattern
	for i, p := range patterns {
		node := uint32(len(a.label))
		if i > 0 && shared[i] == len(patterns[i-1]) {
			a.link[node-1] &^= lastBit
		} else if i > 0 {
			depth := uint32(shared[i])
			for a.runs[path[len(path)-1]].depth > depth {
				path = path[:len(path)-1]
			}
			from := a.runs[path[len(path)-1]]
			path = append(path, len(a.runs))
			a.runs = append(a.runs, run{start: node, depth: depth + 1, parent: from.start + depth - from.depth})
			a.starts.set(node)
		}
		a.label = append(a.label, p[shared[i]:]...)
		last[i] = uint32(len(a.label) - 1)
		a.link[last[i]] = lastBit | endBit
	}
	a.starts.count()
	return last
}

// branch builds the tables of children of nodes that have several, and of the root.
func (a *automaton) branch() {
	if len(a.label) > 1 {
		a.first[a.label[1]] = 1
	}
	a.branched = newRanked(len(a.link))
	byParent := slices.Clone(a.runs[1:])
	slices.SortStableFunc(byParent, func(r, s run) int { return int(r.parent) - int(s.parent) })
	for _, r := range byParent {
		c := a.label[r.start]
		if r.parent == 0 {
			a.first[c] = r.start
			continue
		}
		if a.link[r.parent]&branchBit == 0 {
			a.link[r.parent] |= branchBit
			a.branched.set(r.parent)
			a.branches = append(a.branches, branch{first: uint32(len(a.children))})
		}
		a.branches[len(a.branches)-1].set[c>>6] |= 1 << (c & 63)
		a.children = append(a.children, r.start)
	}
	a.branches = append(a.branches, branch{first: uint32(len(a.children))}) // the end
	a.branched.count()
}

// connect sets the suffix links and the patterns that end at each node, given the node of each pattern.
func (a *automaton) connect(last []uint32) {
	a.ends = newRanked(len(a.link))
	type end struct{ node, suffix uint32 }
	var ends []end // by depth
	a.byDepth(func(node, parent uint32) {
		var suffix uint32
		for n := parent; n != 0 && suffix == 0; {
			n = a.link[n] & nodeSet
			suffix = a.child(n, a.label[node])
		}
		if (a.link[node]|a.link[suffix])&endBit != 0 {
			a.link[node] |= endBit
			a.ends.set(node)
			ends = append(ends, end{node, suffix})
		}
		if a.leaf(suffix) {
			suffix = a.link[suffix] & nodeSet
		}
		a.link[node] |= suffix
	})
	a.ends.count()
	a.longest = make([]uint32, len(ends))
	for _, e := range ends {
		if i, own := slices.BinarySearch(last, e.node); own {
			a.longest[a.ends.rank(e.node)] = uint32(i)
		} else {
			a.longest[a.ends.rank(e.node)] = a.longest[a.ends.rank(e.suffix)]
		}
	}
}

// byDepth visits every node but the root in order of depth.
func (a *automaton) byDepth(visit func(node, parent uint32)) {
	level, next := []uint32{0}, []uint32(nil)
	for len(level) > 0 {
		for _, parent := range level {
			first := len(next)
			switch link := a.link[parent]; {
			case parent == 0:
				next = append(next, slices.DeleteFunc(slices.Clone(a.first[:]), func(n uint32) bool { return n == 0 })...)
			case link&branchBit != 0:
				b := a.branched.rank(parent)
				next = append(next, a.children[a.branches[b].first:a.branches[b+1].first]...)
				fallthrough
			default:
				if link&lastBit == 0 {
					next = append(next, parent+1)
				}
			}
			for _, node := range next[first:] {
				visit(node, parent)
			}
		}
		level, next = next, level[:0]
	}
}

// child returns the node that c leads to from node, or 0.
func (a *automaton) child(node uint32, c byte) uint32 {
	if node == 0 {
		return a.first[c]
	}
	link := a.link[node]
	if link&lastBit == 0 && a.label[node+1] == c {
		return node + 1
	}
	if link&branchBit == 0 {
		return 0
	}
	f := &a.branches[a.branched.rank(node)]
	word, bit := int(c>>6), uint64(1)<<(c&63)
	if f.set[word]&bit == 0 {
		return 0
	}
	at := bits.OnesCount64(f.set[word] & (bit - 1))
	for _, w := range f.set[:word] {
		at += bits.OnesCount64(w)
	}
	return a.children[int(f.first)+at]
}

// step returns the state after c, and its depth.
func (a *automaton) step(state uint32, depth int, c byte) (uint32, int) {
	if n := a.child(state, c); n != 0 {
		return n, depth + 1
	}
	for state != 0 {
		state = a.link[state] & nodeSet
		if n := a.child(state, c); n != 0 {
			return n, a.depth(n)
		}
	}
	return 0, 0
}

// leaf reports whether a node other than the root has no children.
func (a *automaton) leaf(node uint32) bool { return a.link[node]&(lastBit|branchBit) == lastBit }

// depth returns the length of the node's prefix.
func (a *automaton) depth(node uint32) int {
	r := &a.runs[a.starts.rank(node+1)-1]
	return int(r.depth + node - r.start)
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// ranked is a set of nodes that counts its members below a node in constant time.
type ranked struct {
	words  []uint64
	before []uint32 // number of members in earlier words
}

func newRanked(nodes int) ranked {
	words := nodes/64 + 1
	return ranked{make([]uint64, words), make([]uint32, words)}
}

func (r *ranked) set(node uint32) { r.words[node>>6] |= 1 << (node & 63) }

// count must be called after the last set and before the first rank.
func (r *ranked) count() {
	for i := 1; i < len(r.words); i++ {
		r.before[i] = r.before[i-1] + uint32(bits.OnesCount64(r.words[i-1]))
	}
}

func (r *ranked) rank(node uint32) int {
	return int(r.before[node>>6]) + bits.OnesCount64(r.words[node>>6]&(1<<(node&63)-1))
}
