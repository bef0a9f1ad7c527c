//! How much stack the programs take along their calls, by the rule of Linux 6.1, the oldest kernel supported, and the strictest in
//! this: `check_max_stack_depth` in `kernel/bpf/verifier.c` rounds each frame up to 32 octets (since 6.8 it is 16 where the JIT
//! compiler says so) and allows all frames of a chain of calls 512 together. Read from the object, so that no such kernel is needed
//! to see that a program outgrows it.
//!
//! A frame is as large as the lowest address below the frame pointer that the function makes or accesses. That may be more than the
//! verifier counts, which looks only where it gets to; never less for what a compiler makes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use aya_obj::generated::bpf_insn;
use aya_obj::{Function, Object};

#[test]
fn the_stack_of_every_program_fits_the_oldest_kernel() {
    let programs = programs(&super::bytes().expect("the object"));
    assert!(programs.contains_key("fairway") && programs.contains_key("fairway_trace"), "{:?}", programs.keys());
    for (name, program) in &programs {
        let deepest = program.deepest();
        println!("{name}: {deepest}");
        assert!(deepest.total() <= MOST, "{name} takes more than {MOST} octets of stack on Linux 6.1: {deepest}");
    }
}

#[test]
fn frames_are_rounded_up_and_added_along_the_deepest_chain() {
    let store = |offset| instruction(0x7b, 10, 1, offset, 0);
    let call = |distance| instruction(0x85, 0, 1, 0, distance);
    let exit = instruction(0x95, 0, 0, 0, 0);
    let program = Program::of(&[
        store(-33),
        call(2), // of the third function
        call(4), // of the second
        exit,
        // An address for a helper; the callback's frame counts though only a helper calls it.
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, -8),
        exit,
        instruction(0x18, 2, 4, 0, 2),
        instruction(0, 0, 0, 0, 0),
        exit,
        store(-480),
        exit,
    ]);
    let deepest = program.deepest();
    assert_eq!(deepest.0.iter().map(|frame| frame.1).collect::<Vec<_>>(), [33, 0, 480]);
    assert_eq!(deepest.total(), 64 + 32 + 480);
}

/// What all frames of a chain may take, `MAX_BPF_STACK`.
const MOST: u32 = 512;
/// What a frame is rounded up to.
const GRAIN: u32 = 32;

/// A program with all that it calls: functions by where they begin.
struct Program(BTreeMap<usize, Code>);

/// One function.
struct Code {
    name: String,
    frame: u32,
    calls: BTreeSet<usize>,
}

/// Functions that call each other, the first one first, and the frame of each.
struct Chain(Vec<(String, u32)>);

impl Chain {
    fn total(&self) -> u32 {
        self.0.iter().map(|(_, frame)| (*frame).max(1).next_multiple_of(GRAIN)).sum()
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let frames: Vec<String> = self.0.iter().map(|(name, frame)| format!("{name} {frame}")).collect();
        write!(formatter, "{} = {} when rounded up", frames.join(" → "), self.total())
    }
}

impl Program {
    fn of(instructions: &[bpf_insn]) -> Self {
        let starts: BTreeSet<usize> =
            std::iter::once(0).chain((0..instructions.len()).filter_map(|at| callee(instructions, at))).collect();
        let ends = starts.iter().skip(1).copied().chain([instructions.len()]);
        let code = |(&start, end): (&usize, usize)| {
            let calls = (start..end).filter_map(|at| callee(instructions, at)).collect();
            (start, Code { name: format!("@{start}"), frame: frame(&instructions[start..end]), calls })
        };
        Self(starts.iter().zip(ends).map(code).collect())
    }

    fn deepest(&self) -> Chain {
        self.deepest_from(0)
    }

    /// There is no recursion: the kernel takes none.
    fn deepest_from(&self, start: usize) -> Chain {
        let code = &self.0[&start];
        let below = code.calls.iter().map(|&callee| self.deepest_from(callee)).max_by_key(Chain::total);
        let own = (code.name.clone(), code.frame);
        Chain(std::iter::once(own).chain(below.into_iter().flat_map(|chain| chain.0)).collect())
    }
}

/// The object's programs, linked as the loader links them.
fn programs(object: &[u8]) -> BTreeMap<String, Program> {
    let mut object = Object::parse(object).expect("it is an object");
    let functions: Vec<Function> = object.functions.values().cloned().collect();
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).expect("all that is called is there");
    let program = |(name, program): (&String, &aya_obj::Program)| {
        let instructions = &object.functions[&program.function_key()].instructions;
        let mut linked = Program::of(instructions);
        for (start, code) in &mut linked.0 {
            code.name = name_of(&functions, &instructions[*start..]).unwrap_or(code.name.clone());
        }
        (name.clone(), linked)
    };
    object.programs.iter().map(program).collect()
}

/// The function whose instructions these begin with; linking changes only what they refer to.
fn name_of(functions: &[Function], instructions: &[bpf_insn]) -> Option<String> {
    let is_same = |(a, b): (&bpf_insn, &bpf_insn)| (a.code, a.dst_reg(), a.off) == (b.code, b.dst_reg(), b.off);
    let is_it = |function: &&Function| {
        function.instructions.len() <= instructions.len() && function.instructions.iter().zip(instructions).all(is_same)
    };
    let longest = functions.iter().filter(is_it).max_by_key(|function| function.instructions.len())?;
    Some(longest.name.clone())
}

/// The function that an instruction calls, or takes the address of, to be called by a helper.
fn callee(instructions: &[bpf_insn], at: usize) -> Option<usize> {
    const CALL: (u8, u8) = (0x85, 1);
    const ADDRESS: (u8, u8) = (0x18, 4);
    let instruction = &instructions[at];
    let is_reference = matches!((instruction.code, instruction.src_reg()), CALL | ADDRESS);
    is_reference.then(|| at.checked_add_signed(instruction.imm as isize + 1).expect("it lies in the program"))
}

/// Octets below the frame pointer that a function's instructions make addresses of, or access.
fn frame(instructions: &[bpf_insn]) -> u32 {
    const FRAME_POINTER: usize = 10;
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    // Where the registers point, from the frame pointer.
    let mut places = [None; 16];
    places[FRAME_POINTER] = Some(0);
    let mut lowest = 0;
    for instruction in instructions {
        let [to, from] = [instruction.dst_reg(), instruction.src_reg()].map(usize::from);
        let accessed = |base: Option<i32>| base.map(|base| base + i32::from(instruction.off));
        let place = match (instruction.code & 7, instruction.code) {
            (_, MOVE) => {
                places[to] = places[from];
                places[to]
            }
            (_, ADD) => {
                places[to] = places[to].map(|place: i32| place + instruction.imm);
                places[to]
            }
            // Stores.
            (2 | 3, _) => accessed(places[to]),
            // Jumps and calls.
            (5 | 6, _) => None,
            // Loads.
            (1, _) => {
                let place = accessed(places[from]);
                places[to] = None;
                place
            }
            _ => {
                places[to] = None;
                None
            }
        };
        lowest = lowest.min(place.unwrap_or(0));
    }
    lowest.unsigned_abs()
}

fn instruction(code: u8, to: u8, from: u8, off: i16, imm: i32) -> bpf_insn {
    // SAFETY: a plain structure of integers.
    let mut instruction: bpf_insn = unsafe { std::mem::zeroed() };
    (instruction.code, instruction.off, instruction.imm) = (code, off, imm);
    instruction.set_dst_reg(to);
    instruction.set_src_reg(from);
    instruction
}
