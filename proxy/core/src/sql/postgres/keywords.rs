//! PostgreSQL's keywords: which word is one, and of which category.
//!
//! The list is the union of `SELECT word, catcode FROM pg_get_keywords()` on servers 10 to 18; where the category differs
//! the newest server's holds. What a keyword means in a statement is not decided here.

/// What a keyword may be used as besides its own meaning (PostgreSQL manual, appendix C).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Category {
    /// Not a keyword at all.
    NotKeyword,
    /// Never a name of anything.
    Reserved,
    /// A column or table name, never a function or type.
    Column,
    /// A function or type name, never a column.
    TypeOrFunction,
    /// Any name.
    Unreserved,
}

macro_rules! keywords {
    ($( $category:ident: $( $name:ident = $word:ident ),* ; )*) => {
        /// A word of the SQL text, if it is a keyword.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "each is the keyword of the same spelling")]
        pub enum Keyword {
            /// No keyword.
            Plain,
             $( $( $name, )* )* }

        static WORDS: &[(&str, Keyword, Category)] = &[
            ("", Keyword::Plain, Category::NotKeyword),
            $( $( (stringify!($word), Keyword::$name, Category::$category), )* )*
        ];
    };
}

keywords! {
    Reserved:
        All=all, Analyse=analyse, Analyze=analyze, And=and, Any=any, Array=array, As=as, Asc=asc,
        Asymmetric=asymmetric, Both=both, Case=case, Cast=cast, Check=check, Collate=collate, Column=column,
        Constraint=constraint, Create=create, CurrentCatalog=current_catalog, CurrentDate=current_date,
        CurrentRole=current_role, CurrentTime=current_time, CurrentTimestamp=current_timestamp,
        CurrentUser=current_user, Default=default, Deferrable=deferrable, Desc=desc, Distinct=distinct, Do=do,
        Else=else, End=end, Except=except, False=false, Fetch=fetch, For=for, Foreign=foreign, From=from,
        Grant=grant, Group=group, Having=having, In=in, Initially=initially, Intersect=intersect, Into=into,
        Lateral=lateral, Leading=leading, Limit=limit, Localtime=localtime, Localtimestamp=localtimestamp, Not=not,
        Null=null, Offset=offset, On=on, Only=only, Or=or, Order=order, Placing=placing, Primary=primary,
        References=references, Returning=returning, Select=select, SessionUser=session_user, Some=some,
        Symmetric=symmetric, SystemUser=system_user, Table=table, Then=then, To=to, Trailing=trailing, True=true,
        Union=union, Unique=unique, User=user, Using=using, Variadic=variadic, When=when, Where=where,
        Window=window, With=with;
    Column:
        Between=between, Bigint=bigint, Bit=bit, Boolean=boolean, Char=char, Character=character, Coalesce=coalesce,
        Dec=dec, Decimal=decimal, Exists=exists, Extract=extract, Float=float, Greatest=greatest, Grouping=grouping,
        Inout=inout, Int=int, Integer=integer, Interval=interval, Json=json, JsonArray=json_array,
        JsonArrayagg=json_arrayagg, JsonExists=json_exists, JsonObject=json_object, JsonObjectagg=json_objectagg,
        JsonQuery=json_query, JsonScalar=json_scalar, JsonSerialize=json_serialize, JsonTable=json_table,
        JsonValue=json_value, Least=least, MergeAction=merge_action, National=national, Nchar=nchar, None=none,
        Normalize=normalize, Nullif=nullif, Numeric=numeric, Out=out, Overlay=overlay, Position=position,
        Precision=precision, Real=real, Row=row, Setof=setof, Smallint=smallint, Substring=substring, Time=time,
        Timestamp=timestamp, Treat=treat, Trim=trim, Values=values, Varchar=varchar, Xmlattributes=xmlattributes,
        Xmlconcat=xmlconcat, Xmlelement=xmlelement, Xmlexists=xmlexists, Xmlforest=xmlforest,
        Xmlnamespaces=xmlnamespaces, Xmlparse=xmlparse, Xmlpi=xmlpi, Xmlroot=xmlroot, Xmlserialize=xmlserialize,
        Xmltable=xmltable;
    TypeOrFunction:
        Authorization=authorization, Binary=binary, Collation=collation, Concurrently=concurrently, Cross=cross,
        CurrentSchema=current_schema, Freeze=freeze, Full=full, Ilike=ilike, Inner=inner, Is=is, Isnull=isnull,
        Join=join, Left=left, Like=like, Natural=natural, Notnull=notnull, Outer=outer, Overlaps=overlaps,
        Right=right, Similar=similar, Tablesample=tablesample, Verbose=verbose;
    Unreserved:
        Abort=abort, Absent=absent, Absolute=absolute, Access=access, Action=action, Add=add, Admin=admin,
        After=after, Aggregate=aggregate, Also=also, Alter=alter, Always=always, Asensitive=asensitive,
        Assertion=assertion, Assignment=assignment, At=at, Atomic=atomic, Attach=attach, Attribute=attribute,
        Backward=backward, Before=before, Begin=begin, Breadth=breadth, By=by, Cache=cache, Call=call,
        Called=called, Cascade=cascade, Cascaded=cascaded, Catalog=catalog, Chain=chain,
        Characteristics=characteristics, Checkpoint=checkpoint, Class=class, Close=close, Cluster=cluster,
        Columns=columns, Comment=comment, Comments=comments, Commit=commit, Committed=committed,
        Compression=compression, Conditional=conditional, Configuration=configuration, Conflict=conflict,
        Connection=connection, Constraints=constraints, Content=content, Continue=continue, Conversion=conversion,
        Copy=copy, Cost=cost, Csv=csv, Cube=cube, Current=current, Cursor=cursor, Cycle=cycle, Data=data,
        Database=database, Day=day, Deallocate=deallocate, Declare=declare, Defaults=defaults, Deferred=deferred,
        Definer=definer, Delete=delete, Delimiter=delimiter, Delimiters=delimiters, Depends=depends, Depth=depth,
        Detach=detach, Dictionary=dictionary, Disable=disable, Discard=discard, Document=document, Domain=domain,
        Double=double, Drop=drop, Each=each, Empty=empty, Enable=enable, Encoding=encoding, Encrypted=encrypted,
        Enforced=enforced, Enum=enum, Error=error, Escape=escape, Event=event, Exclude=exclude, Excluding=excluding,
        Exclusive=exclusive, Execute=execute, Explain=explain, Expression=expression, Extension=extension,
        External=external, Family=family, Filter=filter, Finalize=finalize, First=first, Following=following,
        Force=force, Format=format, Forward=forward, Function=function, Functions=functions, Generated=generated,
        Global=global, Granted=granted, Groups=groups, Handler=handler, Header=header, Hold=hold, Hour=hour,
        Identity=identity, If=if, Immediate=immediate, Immutable=immutable, Implicit=implicit, Import=import,
        Include=include, Including=including, Increment=increment, Indent=indent, Index=index, Indexes=indexes,
        Inherit=inherit, Inherits=inherits, Inline=inline, Input=input, Insensitive=insensitive, Insert=insert,
        Instead=instead, Invoker=invoker, Isolation=isolation, Keep=keep, Key=key, Keys=keys, Label=label,
        Language=language, Large=large, Last=last, Leakproof=leakproof, Level=level, Listen=listen, Load=load,
        Local=local, Location=location, Lock=lock, Locked=locked, Logged=logged, Mapping=mapping, Match=match,
        Matched=matched, Materialized=materialized, Maxvalue=maxvalue, Merge=merge, Method=method, Minute=minute,
        Minvalue=minvalue, Mode=mode, Month=month, Move=move, Name=name, Names=names, Nested=nested, New=new,
        Next=next, Nfc=nfc, Nfd=nfd, Nfkc=nfkc, Nfkd=nfkd, No=no, Normalized=normalized, Nothing=nothing,
        Notify=notify, Nowait=nowait, Nulls=nulls, Object=object, Objects=objects, Of=of, Off=off, Oids=oids,
        Old=old, Omit=omit, Operator=operator, Option=option, Options=options, Ordinality=ordinality, Others=others,
        Over=over, Overriding=overriding, Owned=owned, Owner=owner, Parallel=parallel, Parameter=parameter,
        Parser=parser, Partial=partial, Partition=partition, Passing=passing, Password=password, Path=path,
        Period=period, Plan=plan, Plans=plans, Policy=policy, Preceding=preceding, Prepare=prepare,
        Prepared=prepared, Preserve=preserve, Prior=prior, Privileges=privileges, Procedural=procedural,
        Procedure=procedure, Procedures=procedures, Program=program, Publication=publication, Quote=quote,
        Quotes=quotes, Range=range, Read=read, Reassign=reassign, Recheck=recheck, Recursive=recursive, Ref=ref,
        Referencing=referencing, Refresh=refresh, Reindex=reindex, Relative=relative, Release=release,
        Rename=rename, Repeatable=repeatable, Replace=replace, Replica=replica, Reset=reset, Restart=restart,
        Restrict=restrict, Return=return, Returns=returns, Revoke=revoke, Role=role, Rollback=rollback,
        Rollup=rollup, Routine=routine, Routines=routines, Rows=rows, Rule=rule, Savepoint=savepoint, Scalar=scalar,
        Schema=schema, Schemas=schemas, Scroll=scroll, Search=search, Second=second, Security=security,
        Sequence=sequence, Sequences=sequences, Serializable=serializable, Server=server, Session=session, Set=set,
        Sets=sets, Share=share, Show=show, Simple=simple, Skip=skip, Snapshot=snapshot, Source=source, Sql=sql,
        Stable=stable, Standalone=standalone, Start=start, Statement=statement, Statistics=statistics, Stdin=stdin,
        Stdout=stdout, Storage=storage, Stored=stored, Strict=strict, String=string, Strip=strip,
        Subscription=subscription, Support=support, Sysid=sysid, System=system, Tables=tables,
        Tablespace=tablespace, Target=target, Temp=temp, Template=template, Temporary=temporary, Text=text,
        Ties=ties, Transaction=transaction, Transform=transform, Trigger=trigger, Truncate=truncate,
        Trusted=trusted, Type=type, Types=types, Uescape=uescape, Unbounded=unbounded, Uncommitted=uncommitted,
        Unconditional=unconditional, Unencrypted=unencrypted, Unknown=unknown, Unlisten=unlisten, Unlogged=unlogged,
        Until=until, Update=update, Vacuum=vacuum, Valid=valid, Validate=validate, Validator=validator, Value=value,
        Varying=varying, Version=version, View=view, Views=views, Virtual=virtual, Volatile=volatile,
        Whitespace=whitespace, Within=within, Without=without, Work=work, Wrapper=wrapper, Write=write, Xml=xml,
        Year=year, Yes=yes, Zone=zone;
}

impl Keyword {
    /// The keyword's category.
    #[must_use]
    pub fn category(self) -> Category {
        WORDS
            .get(self as usize)
            .map_or(Category::NotKeyword, |entry| entry.2)
    }

    /// The keyword that `word` spells, in any letter case.
    #[inline]
    #[must_use]
    pub fn of(word: &[u8]) -> Keyword {
        let (Some(&first), Some(&last)) = (word.first(), word.last()) else {
            return Keyword::Plain;
        };
        if word.len() < SHORTEST || word.len() > LONGEST {
            return Keyword::Plain;
        }
        let second = word.get(1).copied().unwrap_or(0);
        let mut slot = hash(fold(first), fold(second), fold(last), word.len());
        // Ends: the table is at most a quarter full.
        loop {
            let Some(entry) = SLOTS.get(slot).and_then(|&index| WORDS.get(index as usize)) else {
                return Keyword::Plain;
            };
            if entry.1 == Keyword::Plain {
                return Keyword::Plain;
            }
            if same_word(word, entry.0.as_bytes()) {
                return entry.1;
            }
            slot = (slot + 1) % SLOT_COUNT;
        }
    }
}

const SHORTEST: usize = 2;
const LONGEST: usize = 17;
const SLOT_COUNT: usize = 2048;
static SLOTS: [u16; SLOT_COUNT] = build_slots();

/// Letters to lower case and `_` to DEL, without a branch. No other byte of an identifier becomes a letter or DEL.
const fn fold(byte: u8) -> u8 {
    byte | 0x20
}

const fn hash(first: u8, second: u8, last: u8, length: usize) -> usize {
    (first as usize * 367 + second as usize * 29 + last as usize * 1031 + length * 191) % SLOT_COUNT
}

const fn build_slots() -> [u16; SLOT_COUNT] {
    let mut slots = [0; SLOT_COUNT];
    let mut index = 1;
    while index < WORDS.len() {
        let word = WORDS[index].0.as_bytes();
        assert!(word.len() >= SHORTEST && word.len() <= LONGEST);
        let mut slot = hash(
            fold(word[0]),
            fold(word[1]),
            fold(word[word.len() - 1]),
            word.len(),
        );
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = index as u16;
        index += 1;
    }
    slots
}

/// Whether two words of 2 to 17 bytes are the same, case folded: their first and last halves are compared as numbers.
#[inline]
fn same_word(word: &[u8], keyword: &[u8]) -> bool {
    if word.len() != keyword.len() {
        return false;
    }
    match word.len() {
        ..4 => halves::<2>(word).map(fold_all) == halves::<2>(keyword).map(fold_all),
        4..8 => halves::<4>(word).map(fold_all) == halves::<4>(keyword).map(fold_all),
        8..16 => halves::<8>(word).map(fold_all) == halves::<8>(keyword).map(fold_all),
        _ => halves::<16>(word).map(fold_all) == halves::<16>(keyword).map(fold_all),
    }
}

/// The first and the last `N` bytes; they may overlap.
#[inline]
fn halves<const N: usize>(word: &[u8]) -> Option<[[u8; N]; 2]> {
    Some([*word.first_chunk()?, *word.last_chunk()?])
}

#[inline]
fn fold_all<const N: usize>(halves: [[u8; N]; 2]) -> [[u8; N]; 2] {
    halves.map(|half| half.map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_finds_itself_in_any_case() {
        for (word, keyword, category) in WORDS.iter().skip(1) {
            assert_eq!(Keyword::of(word.as_bytes()), *keyword, "{word}");
            assert_eq!(
                Keyword::of(word.to_ascii_uppercase().as_bytes()),
                *keyword,
                "{word}"
            );
            assert_eq!(keyword.category(), *category);
            assert_eq!(
                Keyword::of(format!("{word}x").as_bytes()),
                Keyword::Plain,
                "{word}"
            );
        }
        assert!(WORDS.len() > 490 && WORDS.len() < SLOT_COUNT / 4);
    }

    #[test]
    fn other_words_are_no_keywords() {
        for word in [
            "",
            "a",
            "selec",
            "sel3ct",
            "current-user",
            "current\u{7f}user2",
            "übersicht",
            "currentxuser",
        ] {
            assert_eq!(Keyword::of(word.as_bytes()), Keyword::Plain, "{word}");
        }
        assert_eq!(Keyword::of(b"Select").category(), Category::Reserved);
        assert_eq!(Keyword::of(b"VALUES").category(), Category::Column);
        assert_eq!(Keyword::of(b"left").category(), Category::TypeOrFunction);
        assert_eq!(Keyword::of(b"temp").category(), Category::Unreserved);
    }
}
