use super::*;

/// Headers of a library that has changed: its function for folders takes more in release 2.
fn headers(release: u32) -> Headers {
    let folder = match release {
        1 => "bool box_open(box_config_t*, const char* path,\n    const char *name);",
        _ => {
            "bool box_open(\n    box_config_t*, const char* path, const char *name,\n    size_t perms /* of folders */, size_t files);"
        }
    };
    let all = format!(
        r#"// A library's header, as they are written.
#ifndef BOX_H
#define BOX_H
#include <stddef.h>
#include <box/vec.h>
#include "conf.h"

#ifndef BOX_API
#ifdef _WIN32
#define BOX_API __declspec(dllimport)
#else
#define BOX_API __attribute__((visibility("default")))
#endif
#endif
#ifdef __cplusplus
extern "C" {{
#endif
#define own

#define BOX_DECLARE_OWN(name) \
  typedef struct box_##name##_t box_##name##_t; \
  \
  BOX_API void box_##name##_delete(own box_##name##_t*);

BOX_DECLARE_OWN(config)
BOX_DECLARE_OWN(engine)
BOX_DECLARE_VEC(byte, )
BOX_DECLARE_VEC(engine, *)
typedef box_byte_vec_t box_name_t;
typedef enum {{ BOX_FAST, BOX_SMALL = 'x' }} box_mode_t;
typedef void (*box_final_t)(void *);

BOX_API own box_engine_t *box_engine_new(void);
extern BOX_API int box_run(const box_engine_t *engine, const uint8_t (*bytes)[4], box_mode_t mode, double limit);
BOX_API void box_set_arguments(box_config_t *config, size_t argc, const char *argv[]);
BOX_API void box_message(const box_engine_t*, own box_name_t *out), box_nothing(void);
BOX_API void box_keep(box_engine_t*, void *data, void (*finalizer)(void*));
BOX_API void box_keep_too(box_engine_t*, void *data, box_final_t finalizer);
BOX_API const char *box_log(const char *format, ...);
#if defined(BOX_FEATURE_FOLDERS) && BOX_LEVEL >= (2 - 1) && !defined BOX_NEVER
{folder}
#elif 1
BOX_API void box_never(void);
#else
#error not here
#endif
#if BOX_UNKNOWN(1) || 0x10 == 17
BOX_API void box_never(void);
#endif
static inline int box_answer(void) {{ if (1) {{ return 42; }} return 0; }}
BOX_API void box_after(int (*callback)(void *env, size_t count), struct box_engine_t engine);
#ifdef __cplusplus
}}
#endif
#endif
"#
    );
    let vec = "#pragma once\n#define BOX_DECLARE_VEC(name, pointer) \\\n\
               typedef struct box_##name##_vec_t { size_t size; box_##name##_t pointer* data; } box_##name##_vec_t; \\\n\
               void box_##name##_vec_new(box_##name##_vec_t *out, size_t);\n";
    let conf = "#define BOX_FEATURE_FOLDERS\n#define BOX_LEVEL 1UL\n";
    [("box.h", all.as_str()), ("box/vec.h", vec), ("conf.h", conf)]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into()
}

const HEAD: &str =
    "#include <box.h>\n#if HAVE_BOX\nstatic void *load(void) { return dlopen (\"libbox.so\", RTLD_NOW); }\n";

/// What does not fit of a program built with one release, with another one.
fn faults(statements: &str, built: u32, shipped: u32) -> Vec<String> {
    let source = Source::parse(&format!("{HEAD}int run(void *h) {{\n{statements}\n}}\n#endif\n"));
    assert_eq!(source.libraries(), ["libbox.so"]);
    let (own, theirs) = (headers(built), headers(shipped));
    assert!(source.includes(&own));
    let library = |name, headers| Library { name, headers, symbols: None };
    let found = compare("tool", &source, &library("box 1", &own), &library("box 2", &theirs));
    found.into_iter().map(|fault| fault.message).collect()
}

#[track_caller]
fn fit(statements: &str) {
    assert_eq!(faults(statements, 1, 1), [""; 0]);
}

#[test]
fn prototypes_that_are_typed_by_hand_are_held_against_headers() {
    let open = "bool (*box_open) (box_config_t *config, const char *path, const char *name);\n\
                box_open = dlsym (h, \"box_open\");";
    fit(open);
    assert_eq!(faults(open, 1, 2), ["tool calls `box_open` with 3 parameters, box 2 declares 5"]);
    assert_eq!(faults(open, 2, 2), ["tool calls `box_open` with 3 parameters, box 2 declares 5"]);
    // What macros declare, names for types, pointers to functions.
    fit("void (*d) (box_engine_t *); void (*v)(struct box_engine_vec_t *, unsigned long);\n\
         d = dlsym (h, \"box_engine_delete\"); v = (void *) dlsym (h, \"box_engine_vec_new\");");
    fit("void (*m) (const box_engine_t *, box_byte_vec_t *) = dlsym (h, \"box_message\");");
    fit("void (*k) (box_engine_t *, void *, void (*) (void *));\n\
         *(void **) (&k) = dlsym (h, \"box_keep\"); k = dlsym (h, \"box_keep_too\");");
    fit("int (*r) (const box_engine_t *, const void *, box_mode_t, double) = dlsym (h, \"box_run\");");
    fit("const char *(*l) (const char *, ...) = dlsym (h, \"box_log\");");
    fit("struct { void (*nothing) (void); } *own; own->nothing = dlsym (h, \"box_nothing\");");
    fit("void (*a) (int (*) (void *, size_t), box_engine_t) = dlsym (h, \"box_after\");");
}

#[test]
fn what_calling_conventions_allow_fits() {
    // Empty brackets, an argument too many, a result nobody looks at, an `int` for a `size_t`, other bytes.
    fit("box_engine_t *(*n) () = dlsym (h, \"box_engine_new\");");
    fit("box_engine_t *(*n) (const char *) = dlsym (h, \"box_engine_new\");");
    fit("void (*r) (box_engine_t *, void *, int, double) = dlsym (h, \"box_run\");");
    fit("void (*s) (box_config_t *, int, const unsigned char **) = dlsym (h, \"box_set_arguments\");");
}

#[test]
fn says_what_does_not_fit() {
    for (statements, wanted) in [
        (
            "void (*e) (void) = dlsym (h, \"box_engine_free\");",
            "tool loads `box_engine_free`, which no header of box 2 declares",
        ),
        (
            "void (*e) (void) = dlsym (h, \"box_never\");",
            "tool loads `box_never`, which no header of box 2 declares",
        ),
        (
            "void (*e) (void) = dlsym (h, \"box_answer_not\");",
            "tool loads `box_answer_not`, which no header of box 2 declares",
        ),
        (
            "box_engine_t *(*d) () = dlsym (h, \"box_engine_delete\");",
            "tool calls `box_engine_delete` with 0 parameters, box 2 declares 1",
        ),
        (
            "void (*d) (box_config_t *) = dlsym (h, \"box_engine_delete\");",
            "tool calls `box_engine_delete` with `box_config_t *` as parameter 1, box 2 wants `box_engine_t *`",
        ),
        (
            "int (*r) (void *, void *, box_mode_t, int) = dlsym (h, \"box_run\");",
            "tool calls `box_run` with `32-bit integer` as parameter 4, box 2 wants `64-bit float`",
        ),
        (
            "void (*k) (void *, void *, void (*) (void)) = dlsym (h, \"box_keep\");",
            "tool calls `box_keep` with `pointer to a function` as parameter 3, box 2 wants `pointer to a function`",
        ),
        (
            "bool (*n) (void) = dlsym (h, \"box_nothing\");",
            "tool calls `box_nothing` for `8-bit integer`, box 2 gives `void`",
        ),
        (
            "void *e = dlsym (h, \"box_engine_new\");",
            "tool loads `box_engine_new` into something that is not declared as a pointer to a function",
        ),
    ] {
        assert_eq!(faults(statements, 1, 1), [wanted], "{statements}");
    }
}

#[test]
fn types_of_headers_are_those_that_it_was_built_with() {
    let open = "__typeof__ (box_open) *box_open;\nbox_open = dlsym (h, \"box_open\");";
    fit(open);
    assert_eq!(faults(open, 2, 2), [""; 0]);
    // One argument too many is passed over, one too few is not.
    assert_eq!(faults(open, 2, 1), [""; 0]);
    assert_eq!(
        faults(open, 1, 2),
        ["tool was built with box 1 and calls `box_open` with 3 parameters, box 2 declares 5"]
    );
    assert_eq!(
        faults("typeof (box_shut) *box_open = dlsym (h, \"box_open\");", 1, 1),
        ["tool takes the type of `box_shut` from its headers, and those of box 1 don't declare it"]
    );
}

#[test]
fn a_library_has_the_names_that_it_gives() {
    let statements = "void (*d) (box_engine_t *) = dlsym (h, \"box_engine_delete\");";
    let source = Source::parse(&format!("{HEAD}int run(void *h) {{ {statements} }}"));
    let (headers, none, symbols) = (headers(1), Headers::new(), BTreeSet::from(["box_open".to_owned()]));
    let told = |headers, symbols| {
        let library = Library { name: "box 1", headers, symbols: Some(symbols) };
        compare("tool", &source, &library, &library)
            .into_iter()
            .map(|fault| fault.message)
            .collect::<Vec<_>>()
    };
    let lacks = ["tool loads `box_engine_delete`, which the library of box 1 lacks"];
    assert_eq!(told(&headers, &symbols), lacks);
    // Without headers the names are all that is known.
    assert_eq!(told(&none, &symbols), lacks);
    assert_eq!(told(&none, &BTreeSet::from(["box_engine_delete".to_owned()])), [""; 0]);
    let own = fs_err::read(std::env::current_exe().unwrap()).unwrap();
    assert!(super::symbols(&own).is_ok());
    assert!(super::symbols(b"no library").is_err());
}

#[test]
fn hostile_headers_end() {
    let deep = format!("#if {}1\n#endif\nvoid f{}", "(".repeat(100_000), "(*".repeat(100_000));
    let wide = (0..40).map(|n| format!("#define a{n} a{m} a{m}\n", m = n + 1)).collect::<String>() + "a0;\n";
    let own = "#define a a a\n#define b(x) b(x) b(x)\na b(b(b)) b( ## # \\\n\"\n'\n/* \"".to_owned();
    let to_itself = "#include \"box.h\"\n#include <box.h>\nint f(int\n".to_owned();
    for text in [deep, wide, own, to_itself] {
        let headers = Headers::from([("box.h".to_owned(), text.clone())]);
        let source = Source::parse(&format!("{HEAD}{text}"));
        let library = Library { name: "box 1", headers: &headers, symbols: None };
        assert!(compare("tool", &source, &library, &library).is_empty());
    }
}
