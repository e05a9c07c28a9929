// Where a slot has halted, it takes the incoming batch's sample in the variant drawn for it:
//   halted[b] != 0: inputs[b, i] = renamed(incoming_inputs[b, source(i)]), labels the same, identifiers[b] = the incoming one.
// inputs, labels (B, S), identifiers (B), each beside its incoming twin; halted (B); variants (B), what each is drawn by.
//   sudoku: digits, rows and columns each have an order; rows of a box stay together, and columns. What is no digit's token
//           keeps its number.
//   maze:   one of the eight turns and reflections; where it is no square, of the four that keep its shape.
// Draws are those of src/rng.rs, number for number. A workgroup owns a sample; of a Sudoku its first thread draws the
// orders. Exact integers.

struct Params { rows: u32, columns: u32, box_rows: u32, box_columns: u32 }
// Where the random numbers of a variant begin: four of them are a block.
struct Variant { key: vec2<u32>, block: vec2<u32>, stream: vec2<u32> }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> halted: array<u32>;
@group(0) @binding(2) var<storage, read> variants: array<Variant>;
@group(0) @binding(3) var<storage, read> incoming_inputs: array<u32>;
@group(0) @binding(4) var<storage, read> incoming_labels: array<u32>;
@group(0) @binding(5) var<storage, read> incoming_identifiers: array<u32>;
@group(0) @binding(6) var<storage, read_write> inputs: array<u32>;
@group(0) @binding(7) var<storage, read_write> labels: array<u32>;
@group(0) @binding(8) var<storage, read_write> identifiers: array<u32>;

#import philox

// The token of the digit 1, after padding and blank.
const FIRST_DIGIT: u32 = 2u;
// Where each order begins in `orders`: lines of the largest grid are 9.
const DIGITS: u32 = 0u;
const ROWS: u32 = 9u;
const COLUMNS: u32 = 18u;
const BLOCKS: u32 = 27u;

var<workgroup> orders: array<u32, 36>;
var<workgroup> transposed: u32;

// The random numbers that come next: the block after this one, and those of this one that are left.
var<private> next: Variant;
var<private> words: vec4<u32>;
var<private> left: u32;

fn number() -> u32 {
    if left == 0u {
        words = philox(next.key, vec4<u32>(next.block, next.stream));
        next.block.x++;
        next.block.y += select(0u, 1u, next.block.x == 0u);
        left = 4u;
    }
    left--;
    return words[3u - left];
}

// Uniform in 0..bound: numbers that would make some of these likelier than others are drawn again (Lemire).
fn below(bound: u32) -> u32 {
    let biased = (0u - bound) % bound;
    var product = multiply_wide(number(), bound);
    while product.y < biased {
        product = multiply_wide(number(), bound);
    }
    return product.x;
}

// Fisher-Yates, of `count` entries of `orders` from `first` on.
fn shuffle(first: u32, count: u32) {
    for (var last = count - 1u; last > 0u; last--) {
        let other = first + below(last + 1u);
        let moved = orders[first + last];
        orders[first + last] = orders[other];
        orders[other] = moved;
    }
}

// An order of lines, from `first` on, that keeps blocks of `block` of them together.
fn draw_lines(first: u32, block: u32) {
    let blocks = params.columns / block;
    for (var i = 0u; i < blocks; i++) {
        orders[BLOCKS + i] = i;
    }
    shuffle(BLOCKS, blocks);
    for (var i = 0u; i < blocks; i++) {
        for (var line = 0u; line < block; line++) {
            orders[first + i * block + line] = orders[BLOCKS + i] * block + line;
        }
        shuffle(first + i * block, block);
    }
}

fn draw_orders() {
    for (var digit = 0u; digit < params.columns; digit++) {
        orders[DIGITS + digit] = digit;
    }
    shuffle(DIGITS, params.columns);
    transposed = 0u;
    if params.box_rows == params.box_columns {
        transposed = below(2u);
    }
    draw_lines(ROWS, params.box_rows);
    draw_lines(COLUMNS, params.box_columns);
}

fn renamed(token: u32) -> u32 {
    let digit = token - FIRST_DIGIT;
    if digit < params.columns {
        return FIRST_DIGIT + orders[DIGITS + digit];
    }
    return token;
}

@compute @workgroup_size(64)
fn sudoku(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sample = group.x;
    let taken = halted[sample] != 0u;
    if taken && local == 0u {
        next = variants[sample];
        draw_orders();
    }
    workgroupBarrier();
    if !taken {
        return;
    }
    let cells = params.rows * params.columns;
    for (var cell = local; cell < cells; cell += 64u) {
        let row = orders[ROWS + cell / params.columns];
        let column = orders[COLUMNS + cell % params.columns];
        let source = select(row * params.columns + column, column * params.columns + row, transposed == 1u);
        inputs[sample * cells + cell] = renamed(incoming_inputs[sample * cells + source]);
        labels[sample * cells + cell] = renamed(incoming_labels[sample * cells + source]);
    }
    if local == 0u {
        identifiers[sample] = incoming_identifiers[sample];
    }
}

// Whether turn `turn`, by its number in src/data/dihedral.rs, is among those whose bits are set.
fn among(turns: u32, turn: u32) -> bool {
    return ((turns >> turn) & 1u) == 1u;
}

@compute @workgroup_size(64)
fn maze(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let sample = group.x;
    if halted[sample] == 0u {
        return;
    }
    next = variants[sample];
    var turn = 0u;
    if params.rows == params.columns {
        turn = below(8u);
    } else {
        turn = vec4<u32>(0u, 2u, 4u, 5u)[below(4u)];
    }
    let cells = params.rows * params.columns;
    for (var cell = local; cell < cells; cell += 64u) {
        var place = vec2<u32>(cell / params.columns, cell % params.columns);
        // Quarter turns and diagonal reflections change rows for columns, which are as many.
        place = select(place, place.yx, among(0xCAu, turn));
        let row = select(place.x, params.rows - 1u - place.x, among(0xACu, turn));
        let column = select(place.y, params.columns - 1u - place.y, among(0x96u, turn));
        inputs[sample * cells + cell] = incoming_inputs[sample * cells + row * params.columns + column];
        labels[sample * cells + cell] = incoming_labels[sample * cells + row * params.columns + column];
    }
    if local == 0u {
        identifiers[sample] = incoming_identifiers[sample];
    }
}
